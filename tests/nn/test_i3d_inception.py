"""I3D on Inception: TensorFlow's SAME padding, worked by hand; the shapes and the cost of the paper's layout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vidcomp.evaluation.cost import gmacs
from vidcomp.nn.backbones.i3d_inception import Classifier, SameConvBN, SameMaxPool3d, i3d_inception, same_padding
from vidcomp.nn.compressors import Identity
from vidcomp.nn.whole_video import CompressedModel, Insertion


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 7, 2, (2, 3)),
        (225, 7, 2, (3, 3)),
        (112, 3, 2, (0, 1)),
        (113, 3, 2, (1, 1)),
        (8, 2, 2, (0, 0)),
        (7, 2, 2, (0, 1)),
        (1, 7, 2, (3, 3)),
        (2, 7, 2, (2, 3)),
        (5, 3, 1, (1, 1)),
    ],
)
def test_padding_by_hand(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        # Seven ones in the kernel: each output is the sum of the frames it sees. Two zeros before, three behind:
        # 1 + … + 5, 1 + … + 6 and two zeros less of the seven, 3 + … + 6.
        ([1, 2, 3, 4, 5, 6], [15, 21, 18]),
        # Three before and three behind: 1 + … + 4, 1 + … + 5, 2 + … + 5.
        ([1, 2, 3, 4, 5], [10, 15, 14]),
        ([1], [1]),
    ],
)
def test_a_strided_convolution_by_hand(frames: list[float], expected: list[float]) -> None:
    layer = SameConvBN(1, 1, kernel=7, stride=2).eval()
    layer.bn = nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[0, 0, :, 3, 3] = 1
    # One pixel high and wide: the kernel's middle lies on it.
    out = layer(torch.tensor(frames, dtype=torch.float32).reshape(1, 1, -1, 1, 1))
    assert out.flatten().tolist() == expected


@pytest.mark.parametrize(
    ("values", "kernel", "expected"),
    [
        ([5, 1, 2, 3], 3, [5, 3]),  # windows 0–2 and 2–3
        ([5, 1, 2, 3, 4], 3, [5, 3, 4]),  # windows 0–1, 1–3 and 3–4
        ([5, 1, 2, 3, 4], 2, [5, 3, 4]),
        ([-2, -1], 3, [-1]),  # padding is no value
    ],
)
def test_a_pool_by_hand(values: list[float], kernel: int, expected: list[float]) -> None:
    pool = SameMaxPool3d((kernel, 1, 1), (2, 1, 1))
    assert pool(torch.tensor(values, dtype=torch.float32).reshape(1, 1, -1, 1, 1)).flatten().tolist() == expected


def test_a_pool_of_two_frames_without_a_stride_keeps_all() -> None:
    pool = SameMaxPool3d((2, 1, 1), (1, 1, 1))
    values = torch.tensor([5, 1, -2, -1], dtype=torch.float32)
    assert pool(values.reshape(1, 1, -1, 1, 1)).flatten().tolist() == [5, 1, -1, -1]


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 5), (4, 3, 2)])
def test_the_pool_without_a_stride_is_the_same_axis_by_axis(size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size)
    with torch.inference_mode():
        pooled = SameMaxPool3d((3, 3, 3), (1, 1, 1))(features)
    assert torch.equal(pooled, nn.functional.max_pool3d(features, 3, 1, 1))


def test_shapes_of_every_stage_and_the_cost_of_a_clip() -> None:
    with torch.device("meta"):
        backbone = i3d_inception().eval()
        features = torch.empty(1, 3, 64, 224, 224)
        shapes = {}
        for name, stage in backbone.stages.items():
            features = stage(features)
            shapes[name] = tuple(features.shape[1:])
        model = CompressedModel(backbone, [Insertion("mixed_5", Identity())])
    assert shapes == {
        "stem": (192, 32, 28, 28),
        "mixed_3b": (256, 32, 28, 28),
        "mixed_3": (480, 32, 28, 28),
        "mixed_4a": (480, 16, 14, 14),
        "mixed_4b": (512, 16, 14, 14),
        "mixed_4c": (512, 16, 14, 14),
        "mixed_4d": (512, 16, 14, 14),
        "mixed_4e": (528, 16, 14, 14),
        "mixed_4": (832, 16, 14, 14),
        "mixed_5a": (832, 8, 7, 7),
        "mixed_5b": (832, 8, 7, 7),
        "mixed_5": (1024, 8, 7, 7),
        "classifier": (400,),
    }
    assert gmacs(model, 64, 224, 224).total == pytest.approx(111.15, abs=0.01)
    weights = sum(tensor.numel() for tensor in backbone.state_dict().values() if tensor.is_floating_point())
    assert weights == 12_704_544  # as many as were published


def test_the_stem_can_be_cut_inside() -> None:
    backbone = i3d_inception().eval()
    assert backbone.cuts[:5] == ("stem.conv_1a", "stem.pool_2a", "stem.conv_2b", "stem.conv_2c", "stem")
    assert [backbone.temporal_stride(cut) for cut in ("stem.pool_2a", "stem", "mixed_4a")] == [2, 2, 4]
    head, tail = backbone.split(["stem.pool_2a"])
    clip = torch.rand(1, 3, 16, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(tail(head(clip)), backbone(clip))


def test_a_compressor_can_take_over_the_stride_of_mixed_4a() -> None:
    with torch.device("meta"):
        backbone = i3d_inception(mixed_4a_stride=1).eval()
        features = torch.empty(1, 3, 32, 224, 224)
        for stage in list(backbone.stages.values())[:4]:
            features = stage(features)
    assert features.shape == (1, 480, 16, 14, 14)
    assert backbone.temporal_stride("mixed_5") == 4
    with pytest.raises(ValueError, match="mixed_4a_stride must be 1 or 2, not 3"):
        i3d_inception(mixed_4a_stride=3)


def classifier_of_two_channels() -> Classifier:
    """Its logits are its two channels."""
    classifier = Classifier(2, 2).eval()
    with torch.no_grad():
        classifier.linear.weight.copy_(torch.eye(2))
        classifier.linear.bias.zero_()
    return classifier


def test_up_to_two_seconds_the_logits_are_averaged() -> None:
    features = torch.zeros(1, 2, 7, 1, 1)
    features[0, 0, 0] = 12
    # Six pairs of neighbors, the first of which has the mean 6; the ends count half as much as the rest.
    assert classifier_of_two_channels()(features).tolist() == [[pytest.approx(1), pytest.approx(0)]]


def test_what_is_certain_for_a_while_outweighs_what_is_likely_all_the_time() -> None:
    features = torch.zeros(1, 2, 14, 7, 7)
    features[:, 1] = 1
    features[0, 0, 12:] = 36
    # Eight spans of six moments: six of them without channel 0, then 3 of it, then 9.
    expected = math.log((6 + math.exp(3) + math.exp(9)) / 8)
    logits = classifier_of_two_channels()(features)
    assert logits.tolist() == [[pytest.approx(expected, rel=1e-5), pytest.approx(1, rel=1e-5)]]


@pytest.mark.parametrize("frames", [1, 2, 7, 16, 33])
def test_any_number_of_frames_and_any_size_gives_logits(frames: int) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        logits = i3d_inception(classes=3).eval()(torch.randn(1, 3, frames, 33, 50))
    assert logits.shape == (1, 3)
    assert logits.isfinite().all()
