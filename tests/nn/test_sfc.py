"""SFC: small cases worked by hand, its options, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcomp.nn.compressors import SFC
from vidcomp.nn.compressors.sfc import (
    POOLINGS,
    QKV_CHOICES,
    THETA_KERNELS,
    evenly_spaced_frames,
    topk_elements,
    topk_frames,
)


def frames(*values: float) -> Tensor:
    """A video of one channel and one pixel a frame, (1, 1, T, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1, 1)


def random_features(n: int = 2, c: int = 4, t: int = 7, h: int = 5, w: int = 6) -> Tensor:
    return torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(0))


def build(channels: int = 4, **options: Any) -> SFC:
    torch.manual_seed(0)
    return SFC(channels, **options).eval()


def without_weights(**options: Any) -> SFC:
    """An SFC of one channel without abstraction whose θ are the identity, so that a map can be worked by hand."""
    sfc = SFC(1, qkv="head", theta_kernel="1x1x1", **options).eval()
    nn.init.ones_(sfc.theta_q.weight)
    nn.init.ones_(sfc.theta_k.weight)
    return sfc


def test_a_map_worked_by_hand() -> None:
    # Frames 0, ln 2 and ln 4; τ = 3 keeps the last, so that the products are ln4·0, ln4·ln2 and ln4·ln4. With a scale
    # of 1/ln 4 the softmax is over 0, ln 2, ln 4: weights 1/7, 2/7, 4/7.
    ln2, ln4 = torch.tensor(2.0).log().item(), torch.tensor(4.0).log().item()
    compressed = without_weights(tau=3, scale=1 / ln4)(frames(0.0, ln2, ln4), need_attention=True)
    assert compressed.attention is not None
    torch.testing.assert_close(compressed.attention, torch.tensor([[[1 / 7, 2 / 7, 4 / 7]]]))
    torch.testing.assert_close(compressed.features, frames((2 * ln2 + 4 * ln4) / 7))


def test_the_default_scale_divides_by_the_root_of_what_is_multiplied() -> None:
    sfc = build()
    h, w = 3, 3  # 5 × 6 halved, rounded up
    explicit = build(scale=(4 * h * w) ** -0.5)
    torch.testing.assert_close(sfc(random_features()).features, explicit(random_features()).features)


def test_topk_keeps_whole_frames_in_the_order_of_time() -> None:
    assert topk_frames(frames(5, 1, 9, 2, 7), 3).flatten().tolist() == [5, 9, 7]


def test_topk_keeps_the_earlier_of_equal_frames() -> None:
    features = torch.ones(1, 1, 40, 1, 1)
    marked = torch.cat([features, torch.arange(40.0).view(1, 1, -1, 1, 1)], dim=1)
    marked = torch.cat([marked, -marked[:, 1:]], dim=1)  # the mean stays the same for every frame
    assert topk_frames(marked, 3)[0, 1].flatten().tolist() == [0, 1, 2]


def test_topk_elementwise_chooses_for_every_position_apart() -> None:
    features = torch.tensor([[1.0, 9.0], [5.0, 2.0], [3.0, 4.0]]).view(1, 1, 3, 1, 2)
    assert topk_elements(features, 2).view(2, 2).tolist() == [[5, 9], [3, 4]]


@pytest.mark.parametrize(
    ("length", "keep", "expected"),
    [(6, 3, [0, 2, 4]), (5, 3, [0, 2, 4]), (1, 1, [0]), (4, 4, [0, 1, 2, 3]), (8, 6, [0, 2, 3, 4, 6, 7])],
)
def test_even_keeps_frames_equally_far_apart(length: int, keep: int, expected: list[int]) -> None:
    assert evenly_spaced_frames(frames(*range(length)), keep).flatten().tolist() == expected


@pytest.mark.parametrize(("pooling", "expected"), [("average", [1.5, 3.5]), ("max", [2, 4])])
def test_average_and_max_pool_windows_of_time(pooling: str, expected: list[float]) -> None:
    assert POOLINGS[pooling](frames(1, 2, 3, 4), 2).flatten().tolist() == expected


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("qkv", QKV_CHOICES)
@pytest.mark.parametrize("theta_kernel", THETA_KERNELS)
def test_every_option_gives_a_map_and_the_same_features_with_and_without_it(
    pooling: str, qkv: str, theta_kernel: str
) -> None:
    sfc = build(pooling=pooling, qkv=qkv, theta_kernel=theta_kernel)
    features = random_features()
    explicit = sfc(features, need_attention=True)
    assert explicit.attention is not None
    assert explicit.features.shape == (2, 4, 4, 5, 6)
    assert explicit.attention.shape == (2, 4, 7)
    torch.testing.assert_close(explicit.attention.sum(dim=-1), torch.ones(2, 4))
    torch.testing.assert_close(sfc(features).features, explicit.features)


def test_values_are_the_heads_own_features_unless_all_are_abstracted() -> None:
    features = random_features()
    for qkv, of_the_head in (("head", True), ("abstracted-qk", True), ("abstracted", False)):
        compressed = build(qkv=qkv)(features, need_attention=True)
        assert compressed.attention is not None
        mixed = torch.einsum("nij,ncjhw->ncihw", compressed.attention, features)
        assert torch.allclose(compressed.features, mixed, atol=1e-5) is of_the_head


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_video_is_compressed_in_a_batch_as_it_is_alone(pooling: str) -> None:
    sfc = build(pooling=pooling)
    features = random_features(n=3)
    together = sfc(features, need_attention=True)
    alone = sfc(features[1:2], need_attention=True)
    torch.testing.assert_close(together.features[1:2], alone.features)
    assert together.attention is not None
    torch.testing.assert_close(together.attention[1:2], alone.attention)


@pytest.mark.parametrize(
    ("tau", "length", "kept"),
    [(1, 36, 36), (4 / 3, 36, 27), (2, 36, 18), (4, 36, 9), (8, 36, 5), (2, 7, 4), (2, 1, 1), (8, 3, 1), (3, 10, 3)],
)
def test_frames_kept_by_tau(tau: float, length: int, kept: int) -> None:
    sfc = build(channels=2)
    sfc.tau = tau  # after building, as at inference
    assert sfc.kept_frames(length) == kept
    assert sfc(random_features(n=1, c=2, t=length)).features.shape[2] == kept


def test_no_weight_depends_on_tau_or_pooling() -> None:
    assert build(tau=2).state_dict().keys() == build(tau=8, pooling="max").state_dict().keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.5}, "tau must be a number of at least 1, not 0.5"),
        ({"tau": float("nan")}, "tau must be a number of at least 1, not nan"),
        ({"tau": float("inf")}, "tau must be a number of at least 1, not inf"),
        ({"tau": "two"}, "tau must be a number of at least 1, not 'two'"),
        ({"pooling": "min"}, "pooling must be one of topk, topk-elementwise, even, average, max, not 'min'"),
        ({"pooling": ["topk"]}, r"pooling must be one of .*, not \['topk'\]"),
        ({"qkv": "all"}, "qkv must be one of head, abstracted, abstracted-qk, not 'all'"),
        ({"theta_kernel": "5x1x1"}, "theta_kernel must be one of 3x1x1, 1x1x1, 3x3x3, not '5x1x1'"),
        ({"scale": 0}, "scale must be a positive number, or absent for .*, not 0"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        SFC(4, **options)


def test_a_bad_tau_is_refused_at_inference_and_leaves_the_old_one() -> None:
    sfc = build(tau=4)
    with pytest.raises(ValueError, match="tau"):
        sfc.tau = 0
    assert sfc.tau == 4


@pytest.mark.parametrize("need_attention", [True, False])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 0.7), (torch.float16, 40.0), (torch.bfloat16, 1e9)])
def test_products_of_half_floats_do_not_overflow(dtype: torch.dtype, size: float, need_attention: bool) -> None:
    """512 channels of 16 × 20 positions: q·k is 160 thousand times the square of their size."""
    torch.manual_seed(0)
    sfc = SFC(512, tau=2, qkv="head", theta_kernel="1x1x1").to(dtype).eval()
    for theta in (sfc.theta_q, sfc.theta_k):
        nn.init.dirac_(theta.weight)
    features = (size * torch.randn(1, 512, 4, 16, 20)).to(dtype)
    compressed = sfc(features, need_attention=need_attention)
    assert compressed.features.dtype == dtype
    # Each frame is like nothing but itself, by far.
    kept = features.float().mean(dim=(0, 1, 3, 4)).topk(2).indices.sort().values
    torch.testing.assert_close(compressed.features, features[:, :, kept])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frames_are_ranked_by_more_digits_than_they_have(dtype: torch.dtype) -> None:
    features = torch.ones(1, 4096, 3, 1, 1, dtype=dtype)
    features[:, :2, 1] = 1.5
    features[:, :1, 2] = 1.5
    features[:, :1, 0] = 0.5
    assert topk_frames(features, 1)[0, 1].item() == 1.5
