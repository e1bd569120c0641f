"""Lite0: the image network frame by frame before training, padded as its weights were trained; two of them joined."""

from __future__ import annotations

import torch
from torch import nn

from vidcomp.nn.backbones.lite0 import (
    Classifier,
    InvertedResidual,
    SamePadConv,
    TemporalMix,
    difference,
    inflate_imagenet,
    join,
    lite0_slow,
    lite0_two_stream,
)
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.receptive_field import ReceptiveField, receptive_field, run_in_chunks


def image_weights() -> dict[str, torch.Tensor]:
    """Random weights under the public checkpoint's key names and shapes, written out from its layout."""
    generator = torch.Generator().manual_seed(1)

    def convolution(outputs: int, inputs: int, kernel: int) -> torch.Tensor:
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        return torch.randn(outputs, inputs, kernel, kernel, generator=generator) * scale

    def norm(prefix: str, channels: int) -> dict[str, torch.Tensor]:
        return {
            f"{prefix}.weight": torch.rand(channels, generator=generator) + 0.5,
            f"{prefix}.bias": torch.randn(channels, generator=generator) * 0.1,
            f"{prefix}.running_mean": torch.randn(channels, generator=generator) * 0.1,
            f"{prefix}.running_var": torch.rand(channels, generator=generator) + 0.5,
        }

    groups = [
        (32, 16, 3, 1, 1),
        (16, 24, 3, 6, 2),
        (24, 40, 5, 6, 2),
        (40, 80, 3, 6, 3),
        (80, 112, 5, 6, 3),
        (112, 192, 5, 6, 4),
        (192, 320, 3, 6, 1),
    ]
    weights = {"_conv_stem.weight": convolution(32, 3, 3), **norm("_bn0", 32)}
    block = 0
    for first, outputs, kernel, expansion, repeats in groups:
        for repeat in range(repeats):
            inputs = first if repeat == 0 else outputs
            width = inputs * expansion
            prefix = f"_blocks.{block}."
            if expansion > 1:
                weights[f"{prefix}_expand_conv.weight"] = convolution(width, inputs, 1)
                weights |= norm(f"{prefix}_bn0", width)
            weights[f"{prefix}_depthwise_conv.weight"] = convolution(width, 1, kernel)
            weights |= norm(f"{prefix}_bn1", width)
            weights[f"{prefix}_project_conv.weight"] = convolution(outputs, width, 1)
            weights |= norm(f"{prefix}_bn2", outputs)
            block += 1
    return {**weights, "_conv_head.weight": convolution(1280, 320, 1), **norm("_bn1", 1280)}


def test_every_public_weight_is_taken_and_before_training_frames_do_not_mix() -> None:
    backbone = lite0_slow(classes=5).eval()
    weights = image_weights()
    inflate_imagenet(backbone, weights)
    taken = {tensor.data_ptr() for tensor in backbone.state_dict().values()}
    assert len(taken) >= len(weights)
    clip = torch.randn(1, 3, 4, 64, 64)
    features = nn.Sequential(*list(backbone.stages.values())[:-1])
    with torch.inference_mode():
        together = features(clip)
        apart = torch.cat([features(clip[:, :, t : t + 1]) for t in range(4)], dim=2)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_stages_keep_time_and_halve_space() -> None:
    backbone = lite0_slow(classes=5).eval()
    features = torch.randn(2, 3, 3, 96, 128)
    shapes = []
    with torch.inference_mode():
        for stage in backbone.stages.values():
            features = stage(features)
            shapes.append(tuple(features.shape))
    assert shapes == [
        (2, 16, 3, 48, 64),
        (2, 24, 3, 24, 32),
        (2, 40, 3, 12, 16),
        (2, 112, 3, 6, 8),
        (2, 320, 3, 3, 4),
        (2, 5),
    ]


def test_time_is_mixed_in_res4_and_res5_alone() -> None:
    backbone = lite0_slow(classes=5)
    mixing = {
        name: sum(isinstance(module, TemporalMix) for module in stage.modules())
        for name, stage in backbone.stages.items()
    }
    assert mixing == {"stem": 0, "res2": 0, "res3": 0, "res4": 6, "res5": 5, "classifier": 0}


def test_padding_by_hand() -> None:
    """Four ones under a 3-kernel of ones at stride 2: padded by one after them only, the sums are 3 and 2."""
    convolution = SamePadConv(1, 1, 3, stride=2)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
    row = torch.ones(1, 1, 1, 4, 4)
    with torch.inference_mode():
        out = convolution(row)
    assert out[0, 0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_same_padding_convolution_is_a_conv3d() -> None:
    """At stride 1 the padding is symmetric and the folded 2-D convolution is torch's own Conv3d."""
    convolution = SamePadConv(4, 6, 5, groups=2)
    features = torch.randn(2, 4, 3, 7, 9)
    reference = nn.functional.conv3d(features, convolution.weight, padding=(0, 2, 2), groups=2)
    torch.testing.assert_close(convolution(features), reference, rtol=1e-4, atol=1e-5)


def test_the_residual_is_there_only_where_shapes_allow() -> None:
    assert InvertedResidual(8, 8, 6, 3, 1, temporal=False).residual
    assert not InvertedResidual(8, 8, 6, 3, 2, temporal=False).residual
    assert not InvertedResidual(8, 9, 6, 3, 1, temporal=False).residual


def test_folding_changes_nothing_but_the_number_of_layers() -> None:
    torch.manual_seed(0)
    backbone = lite0_slow(classes=5)
    inflate_imagenet(backbone, image_weights())
    backbone.eval()
    clip = torch.randn(2, 3, 2, 64, 64)
    with torch.inference_mode():
        before = backbone(clip)
    assert fuse_bn(backbone) == 49
    assert not any(isinstance(module, nn.BatchNorm3d) for module in backbone.modules())
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clip), before, rtol=1e-3, atol=1e-4)


def test_the_classifier_averages_space_and_time() -> None:
    classifier = Classifier(3, classes=2, dropout=0.5).eval()
    features = torch.randn(1, 3, 4, 5, 6)
    shuffled = features.flatten(2)[:, :, torch.randperm(120)].view(1, 3, 4, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(features), classifier(shuffled), rtol=1e-4, atol=1e-5)


def test_differences_by_hand() -> None:
    clip = torch.tensor([1.0, 3.0, 2.0]).view(1, 1, 3, 1, 1).expand(1, 3, 3, 2, 2)
    assert difference(clip)[0, :, :, 0, 0].tolist() == [[6.0, -3.0, 0.0]] * 3
    assert not difference(clip[:, :, :1]).any()


@torch.inference_mode()
def test_streams_are_the_two_networks_with_their_logits_added() -> None:
    torch.manual_seed(0)
    appearance, motion = lite0_slow(5).eval(), lite0_slow(5, motion=True).eval()
    both = join(appearance, motion).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    assert torch.allclose(both(clip), appearance(clip) + motion(clip), atol=1e-6)
    head, tail = both.split(["res3"])
    seen, moving = head(clip).chunk(2, dim=1)
    assert torch.allclose(seen, appearance.split(["res3"])[0](clip), atol=1e-6)
    assert torch.allclose(moving, motion.split(["res3"])[0](clip), atol=1e-6)
    assert torch.allclose(tail(head(clip)), both(clip), atol=1e-6)


@torch.inference_mode()
def test_a_still_video_has_no_motion_and_still_an_appearance() -> None:
    torch.manual_seed(0)
    both = lite0_two_stream(5).eval()
    still, other = (torch.randn(1, 3, 1, 32, 32).repeat(1, 1, 4, 1, 1) for _ in range(2))
    (seen, moving), (seen_too, moving_too) = (both.split(["res3"])[0](clip).chunk(2, dim=1) for clip in (still, other))
    assert torch.equal(moving, moving_too)
    assert not torch.equal(seen, seen_too)


@torch.inference_mode()
def test_the_head_looks_one_frame_ahead_and_chunks_change_nothing() -> None:
    torch.manual_seed(0)
    head = lite0_two_stream(5).eval().split(["res3"])[0]
    field = receptive_field(head)
    assert field == ReceptiveField(stride=1, before=0, after=1)
    clip = torch.randn(1, 3, 9, 32, 48)
    for length in (1, 2, 4):
        joined = torch.cat(list(run_in_chunks(head, field, clip.split(length, dim=2))), dim=2)
        assert torch.allclose(joined, head(clip), atol=1e-6)
