"""Heads run over chunks give the features of one pass, whatever the lengths, strides and chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.nn.probe import probed_fields
from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.backbones.i3d_inception import SameMaxPool3d
from vidcomp.nn.compressors import Identity
from vidcomp.nn.receptive_field import ReceptiveField, receptive_field, run_in_chunks
from vidcomp.nn.whole_video import CompressedModel, Insertion

SIDE = 16


def temporal_conv(kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv3d:
    padding = dilation * (kernel // 2)
    torch.manual_seed(kernel + 10 * stride)
    return nn.Conv3d(3, 3, (kernel, 1, 1), (stride, 1, 1), (padding, 0, 0), (dilation, 1, 1))


class GlobalGate(nn.Module):
    """A squeeze-excitation in miniature: every frame is scaled by the mean over all."""

    def forward(self, clip: Tensor) -> Tensor:
        return clip * clip.mean(dim=(2, 3, 4), keepdim=True)


class PoolsAdaptively(nn.Module):
    """Two features for five frames, from windows that line up with no stride."""

    def forward(self, clip: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool3d(clip, (max(1, 2 * clip.shape[2] // 5), 1, 1))


@pytest.mark.parametrize(
    ("network", "field"),
    [
        (nn.Conv3d(3, 2, 1), (1, 0, 0)),
        (temporal_conv(3), (1, 1, 1)),
        (temporal_conv(3, dilation=2), (1, 2, 2)),
        (nn.Sequential(temporal_conv(3), temporal_conv(5), nn.ReLU()), (1, 3, 3)),
        (temporal_conv(3, stride=2), (2, 1, 1)),
        # Two strides of two: one frame of the second layer is two of the video.
        (nn.Sequential(temporal_conv(3, stride=2), temporal_conv(3, stride=2)), (4, 3, 3)),
        (nn.MaxPool3d((2, 1, 1)), (2, 0, 1)),
        (nn.Sequential(nn.MaxPool3d((2, 1, 1)), temporal_conv(3)), (2, 2, 3)),
        (nn.Conv3d(3, 3, 1, stride=(2, 1, 1)), (2, 0, 0)),
        (temporal_conv(3, stride=3), (3, 1, 1)),
    ],
)
def test_fields_worked_by_hand(network: nn.Module, field: tuple[int, int, int]) -> None:
    assert receptive_field(network) == ReceptiveField(*field)


@pytest.mark.parametrize("network", [GlobalGate(), PoolsAdaptively()])
def test_a_network_that_looks_at_the_whole_video_has_no_field(network: nn.Module) -> None:
    assert receptive_field(network) is None


def test_a_network_of_nan_has_the_field_of_its_layers() -> None:
    network = nn.Conv3d(3, 1, (3, 1, 1), padding=(1, 0, 0))
    nn.init.constant_(network.weight, torch.nan)
    assert receptive_field(network) == ReceptiveField(1, 1, 1)


def test_a_long_field_is_that_of_its_layers() -> None:
    network = nn.Sequential(*(temporal_conv(3, dilation=20) for _ in range(5)))
    assert receptive_field(network) == ReceptiveField(1, 100, 100)
    assert probed_fields([network]) == [ReceptiveField(1, 100, 100)]


@pytest.mark.parametrize(
    "family",
    ["i3d_inception", "i3d_r50", "lite0_two_stream", "r2plus1d_18", "r2plus1d_r50", "r3d_18", "s3d", "slow_r50"],
)
def test_what_backbones_say_is_what_an_experiment_finds(family: str) -> None:
    torch.manual_seed(0)
    backbone = BACKBONES[family](classes=2)
    stages = list(backbone.stages.values())[:-1]
    layers = [layer for stage in stages for layer in (stage if type(stage) is nn.Sequential else [stage])]
    # Of layers that are alike the first stands for all.
    layers = [layer for before, layer in zip([None, *layers], layers, strict=False) if repr(layer) != repr(before)]
    assert [receptive_field(layer) for layer in layers] == probed_fields(layers)


@pytest.mark.parametrize("family", ["x3d_xs", "slowfast_4x16_r50"])
def test_what_cannot_be_run_in_chunks_says_so_too(family: str) -> None:
    backbone = BACKBONES[family](classes=2)
    stages = [backbone.stages["stem"], backbone.stages["res2"]]
    assert None in [receptive_field(stage) for stage in stages]
    assert probed_fields(stages) is None


def chunked(clip: Tensor, lengths: list[int]) -> Iterator[Tensor]:
    start = 0
    turn = 0
    while start < clip.shape[2]:
        length = lengths[turn % len(lengths)]
        yield clip[:, :, start : start + length]
        start, turn = start + length, turn + 1


def video(frames: int, side: int = SIDE) -> Tensor:
    return torch.randn(1, 3, frames, side, side, generator=torch.Generator().manual_seed(frames))


layers = st.lists(
    st.one_of(
        st.builds(temporal_conv, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2])),
        st.sampled_from([nn.MaxPool3d((2, 1, 1)), nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0)), nn.ReLU()]),
    ),
    min_size=1,
    max_size=4,
)
lengths = st.lists(st.integers(1, 40), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(layers=layers, frames=st.integers(1, 120), lengths=lengths)
def test_any_stack_over_any_chunks_gives_the_features_of_one_pass(
    layers: list[nn.Module], frames: int, lengths: list[int]
) -> None:
    network = nn.Sequential(*layers).eval()
    field = receptive_field(network)
    assert field is not None
    clip = video(max(frames, field.stride), side=1)
    with torch.inference_mode():
        whole = network(clip)
        pieces = list(run_in_chunks(network, field, chunked(clip, lengths)))
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, atol=1e-5, rtol=0)


def compressed(family: str, cut: str) -> CompressedModel:
    torch.manual_seed(0)
    return CompressedModel(BACKBONES[family](classes=2), [Insertion(cut, Identity())]).eval()


# Heads that stride in time and look around themselves, each cut where it does.
HEADS = {
    "r3d_18": "res3",
    "r2plus1d_18": "res3",
    "s3d": "res4",
    "i3d_r50": "res3",
    # Its padding goes by the number of frames.
    "i3d_inception": "mixed_4b",
    "lite0_slow": "res4",
}


@pytest.fixture(scope="module")
def head_of() -> Callable[[str], CompressedModel]:
    built = {family: compressed(family, cut) for family, cut in HEADS.items()}
    return lambda family: built[family]


@pytest.mark.parametrize("family", HEADS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.integers(8, 50), lengths=lengths)
def test_a_backbones_head_over_any_chunks_gives_the_features_of_one_pass(
    head_of: Callable[[str], CompressedModel], family: str, frames: int, lengths: list[int]
) -> None:
    model = head_of(family)
    clip = video(frames)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode(chunked(clip, lengths)), model.head(clip), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "cut", "stride"),
    [
        ("r3d_18", "res3", 2),
        ("r3d_18", "res4", 4),
        ("s3d", "res4", 4),
        ("slow_r50", "res3", 1),
        ("i3d_inception", "mixed_4a", 4),
    ],
)
def test_the_stride_found_is_the_one_declared(family: str, cut: str, stride: int) -> None:
    model = compressed(family, cut)
    assert model.head_field is not None
    assert model.head_field.stride == model.temporal_strides[0] == stride


def test_padding_that_goes_by_the_length_is_found() -> None:
    same = SameMaxPool3d((3, 1, 1), (2, 1, 1))
    # Behind an even number of frames, a window is frames 2j to 2j + 2; behind an odd one, 2j - 1 to 2j + 1.
    assert receptive_field(same) == ReceptiveField(2, 1, 3, by_length=True)
    assert receptive_field(nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0))) == ReceptiveField(2, 1, 1)


@pytest.mark.parametrize("frames", range(1, 26))
def test_padding_by_the_length_needs_not_wait_where_the_remainder_is_known(frames: int) -> None:
    network = nn.Sequential(SameMaxPool3d((3, 1, 1), (2, 1, 1)), temporal_conv(3), SameMaxPool3d((2, 1, 1), (2, 1, 1)))
    field = receptive_field(network)
    assert field is not None
    assert field.stride == 4
    clip = video(frames, side=1)
    pieces = list(run_in_chunks(network, field, chunked(clip, [3]), remainder=frames % 4))
    torch.testing.assert_close(torch.cat(pieces, dim=2), network(clip), atol=1e-6, rtol=0)
    long = run_in_chunks(network, field, chunked(video(400, side=1), [4]), remainder=0)
    assert next(long).shape[2] < 20


def test_a_head_without_temporal_kernels_runs_each_chunk_once() -> None:
    model = compressed("slow_r50", "stem")
    assert model.head_field == ReceptiveField(1, 0, 0)
    seen: list[int] = []
    model.segments[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2]))
    model.encode(chunked(video(20), [8]))
    assert seen == [8, 8, 4]


def test_a_long_video_is_never_held_whole() -> None:
    field = ReceptiveField(2, 5, 5)
    network = nn.Sequential(temporal_conv(5, stride=2), temporal_conv(3)).eval()
    assert receptive_field(network) == ReceptiveField(2, 4, 4)
    longest = 0

    def watched(window: Tensor) -> Tensor:
        nonlocal longest
        longest = max(longest, window.shape[2])
        features: Tensor = network(window)
        return features

    pieces = list(run_in_chunks(watched, field, chunked(video(1000, side=1), [4])))
    assert sum(piece.shape[2] for piece in pieces) == 500
    assert longest <= 4 + 3 * field.overlap


def test_a_head_that_looks_everywhere_runs_once_over_all() -> None:
    model = compressed("lite0_slow", "stem")
    model.segments[0] = GlobalGate()
    clip = video(9)
    torch.testing.assert_close(model.encode(chunked(clip, [2])), GlobalGate()(clip))


def test_two_pathways_run_once_over_all() -> None:
    model = compressed("slowfast_4x16_r50", "stem")
    clip = video(32)
    with torch.inference_mode():
        for encoded, whole in zip(model.encode(chunked(clip, [5])), model.head(clip), strict=True):
            torch.testing.assert_close(encoded, whole)
    assert model.head_field is None


def test_no_frames_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        compressed("lite0_slow", "stem").encode([])
