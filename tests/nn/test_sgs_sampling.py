"""The sampling function against the paper's equations, written out here a second time and slowly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidcomp.nn.compressors import FeaturesError
from vidcomp.nn.compressors.binning import EDGE_WEIGHT, assign_bins
from vidcomp.nn.compressors.sgs import similarity_guided_sampling


def equation_6(features: Tensor, delta: Tensor, bins: int) -> Tensor:
    """All B outputs of the linear kernel, with the product that the code must not make."""
    gamma = delta.max() / (2 * bins)
    centers = (2 * torch.arange(1, bins + 1, dtype=delta.dtype) - 1) * gamma
    weights = (1 - (delta[None] - centers[:, None]).abs() / gamma).clamp(min=0)
    return torch.einsum("bt,tchw->bchw", weights, features)


def random_case(frames: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(frames, 3, 2, 2, generator=generator, dtype=torch.float64)
    return features, torch.rand(frames, generator=generator, dtype=torch.float64) + 0.1


@pytest.mark.parametrize("bins", [1, 2, 4, 9, 20])
@pytest.mark.parametrize("seed", range(5))
def test_linear_kernel_is_equation_6_without_its_empty_bins(bins: int, seed: int) -> None:
    features, delta = random_case(seed=seed)
    output, weights = similarity_guided_sampling(features, delta, bins, "linear")
    everything = equation_6(features, delta, bins)
    owner = torch.ceil(delta / delta.max() * bins).clamp(min=1).long() - 1
    expected = everything[owner.unique()]
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.einsum("bt,tchw->bchw", weights, features), output)


def test_kronecker_kernel_averages_each_bin() -> None:
    features, _ = random_case(5)
    delta = torch.tensor([0.1, 0.9, 0.2, 0.55, 1.0], dtype=torch.float64)
    output, weights = similarity_guided_sampling(features, delta, 4, "kronecker")
    expected = torch.stack([features[[0, 2]].mean(0), features[3], features[[1, 4]].mean(0)])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))


def test_output_is_in_the_order_of_magnitude_not_of_time() -> None:
    features, _ = random_case(3)
    _, weights = similarity_guided_sampling(features, torch.tensor([9.0, 1.0, 5.0]), 3)
    assert weights.argmax(dim=1).tolist() == [1, 2, 0]


@pytest.mark.parametrize("frames", [3, 5, 6, 7, 49])
def test_a_frame_on_an_edge_belongs_to_the_lower_bin(frames: int) -> None:
    """Δ = 1…T with B = T puts every frame on an edge, in floats that do not divide exactly too."""
    delta = torch.arange(1, frames + 1, dtype=torch.float32)
    _, weights = similarity_guided_sampling(torch.ones(frames, 1, 1, 1), delta, frames)
    torch.testing.assert_close(weights, torch.eye(frames) * EDGE_WEIGHT)


@pytest.mark.parametrize("kernel", ["linear", "kronecker"])
def test_equal_frames_make_one_bin(kernel: str) -> None:
    features, _ = random_case(6)
    output, weights = similarity_guided_sampling(features, torch.full((6,), 0.3), 6, kernel)  # type: ignore[arg-type]
    assert output.shape == (1, 3, 2, 2)
    assert (weights > 0).all()


@pytest.mark.parametrize("kernel", ["linear", "kronecker"])
def test_zero_similarity_makes_one_bin_that_holds_everything(kernel: str) -> None:
    features, _ = random_case(6)
    delta = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    output, weights = similarity_guided_sampling(features, delta, 6, kernel)  # type: ignore[arg-type]
    torch.testing.assert_close(output, (features.sum(0) if kernel == "linear" else features.mean(0))[None])
    assert weights.shape == (1, 6)
    if kernel == "linear":
        output.sum().backward()
        assert delta.grad is not None
        assert delta.grad.isfinite().all()


def test_one_frame_makes_one_bin() -> None:
    output, weights = similarity_guided_sampling(torch.ones(1, 2, 2, 2), torch.tensor([2.0]), 8)
    assert output.shape == (1, 2, 2, 2)
    assert weights.shape == (1, 1)


def test_gradients_agree_with_finite_differences_away_from_the_kinks() -> None:
    features, delta = random_case()
    top = delta.max()
    others = delta[delta < top].clone().requires_grad_()
    features.requires_grad_()

    def sample(features: Tensor, others: Tensor) -> Tensor:
        return similarity_guided_sampling(features, torch.cat([others, 2 * top[None]]), 5)[0]

    assert torch.autograd.gradcheck(sample, (features, others), atol=1e-6)


def test_gradients_at_the_kinks_are_those_of_equation_8() -> None:
    """B = 2 and Δmax = 4: γ = 1, centers 1 and 3, edges 2 and 4."""
    delta = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5, 1.5], dtype=torch.float64, requires_grad=True)
    features = torch.rand(6, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    output, weights = similarity_guided_sampling(features, delta, 2)
    (slope,) = torch.autograd.grad(output.sum(), delta, retain_graph=True)
    expected = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, -1.0], dtype=torch.float64) * features.detach().sum((1, 2, 3))
    torch.testing.assert_close(slope, expected)
    (by_frame,) = torch.autograd.grad(output[0, 0, 0, 0], features)
    torch.testing.assert_close(by_frame[:, 0, 0, 0], weights[0].detach())
    torch.testing.assert_close(weights[0].detach(), torch.tensor([1, EDGE_WEIGHT, 0, 0, 0.5, 0.5], dtype=torch.float64))


def test_several_coordinates_multiply_their_kernels() -> None:
    features, _ = random_case(3)
    delta = torch.tensor([[1.0, 6.0], [3.0, 2.0], [4.0, 8.0]], dtype=torch.float64)
    output, weights = similarity_guided_sampling(features, delta, [2, 4])
    assert weights.argmax(dim=1).tolist() == [0, 1, 2]
    # γ = 1 in both: the first frame is at a center of one coordinate and on the edge of the other.
    torch.testing.assert_close(output[0], features[0] * EDGE_WEIGHT)
    inner = torch.tensor([[1.0, 7.25], [3.25, 1.0], [4.0, 8.0]], dtype=torch.float64)
    _, weights = similarity_guided_sampling(features, inner, [2, 4])
    torch.testing.assert_close(weights.amax(dim=0), torch.tensor([0.75, 0.75, EDGE_WEIGHT], dtype=torch.float64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_frames_are_named(value: float) -> None:
    features, delta = random_case()
    features[4, 1, 0, 1] = value
    with pytest.raises(FeaturesError, match="frame 4"):
        similarity_guided_sampling(features, delta, 3)
    with pytest.raises(FeaturesError, match="delta of frame 2"):
        similarity_guided_sampling(torch.ones(3, 1, 1, 1), torch.tensor([1.0, 2.0, value]), 3)


@pytest.mark.parametrize("bins", [0, -1, [], [2, 2], 1.5])
def test_bins_out_of_range_are_refused(bins: int) -> None:
    with pytest.raises(ValueError):
        similarity_guided_sampling(torch.ones(3, 1, 1, 1), torch.ones(3), bins)


def test_wrong_kernel_shape_and_sign_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel"):
        similarity_guided_sampling(torch.ones(3, 1, 1, 1), torch.ones(3), 3, "cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="agree"):
        similarity_guided_sampling(torch.ones(3, 1, 1, 1), torch.ones(4), 3)
    with pytest.raises(ValueError, match="negative"):
        similarity_guided_sampling(torch.ones(2, 1, 1, 1), torch.tensor([-1.0, 1.0]), 3)
    with pytest.raises(FeaturesError, match="no frame"):
        similarity_guided_sampling(torch.ones(0, 1, 1, 1), torch.ones(0), 3)


def test_half_floats_keep_frames_on_the_edge() -> None:
    features = torch.ones(4, 1, 1, 1, dtype=torch.float16)
    output, _ = similarity_guided_sampling(features, torch.tensor([1, 2, 3, 4], dtype=torch.float16), 4)
    assert output.dtype == torch.float16
    assert (output > 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_floats_count_every_frame_of_a_full_bin(dtype: torch.dtype) -> None:
    """bfloat16 cannot tell 256 + 1 from 256, nor float16 2048 + 1 from 2048."""
    features = torch.ones(4096, 1, 1, 1, dtype=dtype)
    output, _ = similarity_guided_sampling(features, torch.zeros(4096), 3)
    assert output.item() == 4096


def test_finite_half_floats_are_finite_however_large_their_sum() -> None:
    features = torch.full((3, 512, 16, 20), 30_000.0, dtype=torch.float16)
    output, _ = similarity_guided_sampling(features, torch.arange(1.0, 4.0), 3)
    assert torch.isfinite(output).all()
    summed = assign_bins(torch.zeros(3, 1), [3], "linear").aggregate(features)
    torch.testing.assert_close(summed, torch.full((1, 512, 16, 20), 90_000.0))
