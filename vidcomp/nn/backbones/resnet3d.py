"""The modified 3DResNet-18 of the SGS paper (table A.1), and the 3DResNet-50 that follows from it.

A thin stem and res2 (8 and 32 channels) before stages of the usual bottleneck widths halved; no temporal stride
anywhere, so that SGS alone decides the temporal resolution. Time is mixed in the stem, res2 and res5.
"""

from __future__ import annotations

from torch import nn

from vidcomp.nn.backbones.base import CLASSIFIER, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import Classifier, bottleneck_stage, stem

# Width of the bottlenecks, temporal kernel and spatial stride of each stage (table A.1).
_STAGES = {"res2": (8, 3, 1), "res3": (64, 1, 2), "res4": (128, 1, 2), "res5": (256, 3, 2)}
_STEM_CHANNELS = 8
_STEM_KERNEL = 5

SPEC = BackboneSpec(
    clip_frames=32, stride=2, short_side=256, crop=256, mean=PYTORCHVIDEO_NORM.mean, std=PYTORCHVIDEO_NORM.std
)


def resnet3d_18(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """Modified 3DResNet-18: two bottlenecks a stage (table A.1)."""
    return _resnet3d((2, 2, 2, 2), classes, dropout)


def resnet3d_50(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """3DResNet-50: the stages of table A.1 with 3, 4, 6 and 3 bottlenecks.

    The paper gives no table for it; this is the ResNet-50 counterpart of its ResNet-18.
    """
    return _resnet3d((3, 4, 6, 3), classes, dropout)


def _resnet3d(depths: tuple[int, ...], classes: int, dropout: float) -> Backbone:
    stages: dict[str, nn.Module] = {"stem": stem(_STEM_KERNEL, channels=_STEM_CHANNELS)}
    channels = _STEM_CHANNELS
    for (name, (width, kernel, stride)), depth in zip(_STAGES.items(), depths, strict=True):
        stages[name] = bottleneck_stage(channels, width, [kernel] * depth, stride)
        channels = 4 * width
    stages[CLASSIFIER] = Classifier(channels, classes, dropout)
    return Backbone(stages, SPEC)
