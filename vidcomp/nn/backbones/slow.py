"""Slow-only I3D ResNet-50 (Feichtenhofer et al., ICCV 2019): SlowFast's slow pathway alone.

Frames are taken far apart; time is mixed by 3×1×1 kernels in res4 and res5 only and never strided. One 8×8 clip of
256×256 pixels costs 54.5 GMACs.
"""

from __future__ import annotations

from torch import nn

from vidcomp.nn.backbones.base import CLASSIFIER, IMAGENET_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import Classifier, bottleneck_stage, stem

# Frames entering the network × source frames from one to the next; the weights' shapes are the same for all.
_CLIPS = {"8x8": (8, 8), "16x4": (16, 4), "32x2": (32, 2)}


def slow_spec(clip: str) -> BackboneSpec:
    """The specification of a Slow-only network for a clip such as "8x8".

    Mean and standard deviation are those of the weights that the SFC paper took (the TPN release, as in MMAction2).

    Raises:
        ValueError: ``clip`` is none of 8x8, 16x4, 32x2.
    """
    if clip not in _CLIPS:
        raise ValueError(f"clip must be one of {', '.join(_CLIPS)}, not {clip!r}")
    frames, stride = _CLIPS[clip]
    return BackboneSpec(
        clip_frames=frames, stride=stride, short_side=256, crop=256, mean=IMAGENET_NORM.mean, std=IMAGENET_NORM.std
    )


def slow_stages() -> dict[str, nn.Module]:
    """Slow-only R50's stages up to res5, which leaves 2048 channels."""
    return {
        "stem": stem(temporal_kernel=1),
        "res2": bottleneck_stage(64, 64, [1] * 3, spatial_stride=1),
        "res3": bottleneck_stage(256, 128, [1] * 4, spatial_stride=2),
        "res4": bottleneck_stage(512, 256, [3] * 6, spatial_stride=2),
        "res5": bottleneck_stage(1024, 512, [3] * 3, spatial_stride=2),
    }


def slow_r50(classes: int = 400, clip: str = "8x8") -> Backbone:
    """Slow-only R50 for clips of ``clip`` (8x8, 16x4 or 32x2: frames × stride).

    Raises:
        ValueError: ``clip`` is another.
    """
    return Backbone({**slow_stages(), CLASSIFIER: Classifier(2048, classes)}, slow_spec(clip))
