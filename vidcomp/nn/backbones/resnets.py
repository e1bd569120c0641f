"""Inflated ResNets that differ in their stem, and in where they mix and stride time.

- Slow-only R50 (Feichtenhofer et al., ICCV 2019): SlowFast's slow pathway alone. Frames are taken far apart; time is
  mixed by 3×1×1 kernels in res4 and res5 only and never strided. One 8×8 clip of 256×256 pixels costs 54.5 GMACs.
- I3D R50 (Carreira and Zisserman, CVPR 2017, on the residual network of Wang et al., CVPR 2018): a 5×7×7 stem, 3×1×1
  kernels in every other block, and a temporal pool between res2 and res3. Two published forms have weights of the same
  shapes and differ in how they stride: for 8 frames at stride 8 the stem keeps every frame, for 32 frames at stride 2
  its convolution and its pool halve their number each.
- C2D R50 (Wang et al., CVPR 2018): I3D's residual network without a temporal kernel: only its pool between res2 and
  res3 and the mean at the end mix time. 25.5 GMACs for a clip of 256×256 pixels.
- The modified 3DResNet-18 of the SGS paper (table A.1), and the 3DResNet-50 that follows from it: a thin stem and res2
  (8 and 32 channels) before stages of the usual bottleneck widths halved; no temporal stride anywhere, so that SGS
  alone decides the temporal resolution. Time is mixed in the stem, res2 and res5.
"""

from __future__ import annotations

from torch import nn

from vidcomp.nn.backbones.base import CLASSIFIER, IMAGENET_NORM, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import Classifier, bottleneck_stage, stem

# Frames entering the network × source frames from one to the next; the weights' shapes are the same for all.
_SLOW_CLIPS = {"4x16": (4, 16), "8x8": (8, 8), "16x4": (16, 4), "32x2": (32, 2)}


def slow_spec(clip: str) -> BackboneSpec:
    """The specification of a Slow-only network for a clip such as "8x8".

    Mean and standard deviation are those of the weights that the SFC paper took (the TPN release, as in MMAction2).

    Raises:
        ValueError: ``clip`` is none of 4x16, 8x8, 16x4, 32x2.
    """
    if clip not in _SLOW_CLIPS:
        raise ValueError(f"clip must be one of {', '.join(_SLOW_CLIPS)}, not {clip!r}")
    frames, stride = _SLOW_CLIPS[clip]
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
    """Slow-only R50 for clips of ``clip`` (4x16, 8x8, 16x4 or 32x2: frames × stride).

    Raises:
        ValueError: ``clip`` is another.
    """
    return Backbone({**slow_stages(), CLASSIFIER: Classifier(2048, classes)}, slow_spec(clip))


_I3D_SPECS = {
    "8x8": BackboneSpec(
        clip_frames=8,
        stride=8,
        short_side=256,
        crop=256,
        mean=PYTORCHVIDEO_NORM.mean,
        std=PYTORCHVIDEO_NORM.std,
        temporal_strides={"res3": 2},
    ),
    "32x2": BackboneSpec(
        clip_frames=32,
        stride=2,
        short_side=256,
        crop=256,
        mean=IMAGENET_NORM.mean,
        std=IMAGENET_NORM.std,
        temporal_strides={"stem": 4, "res3": 2},
    ),
}


def i3d_r50(classes: int = 400, clip: str = "8x8") -> Backbone:
    """I3D R50 for clips of ``clip``: 8x8 (as PyTorchVideo publishes it) or 32x2 (as MMAction2 does).

    Raises:
        ValueError: ``clip`` is another.
    """
    if clip not in _I3D_SPECS:
        raise ValueError(f"clip must be one of {', '.join(_I3D_SPECS)}, not {clip!r}")
    stem_stride = 2 if clip == "32x2" else 1
    res3 = bottleneck_stage(256, 128, [3, 1, 3, 1], spatial_stride=2)
    stages = {
        "stem": stem(temporal_kernel=5, conv_stride=stem_stride, pool_stride=stem_stride),
        "res2": bottleneck_stage(64, 64, [3, 3, 3], spatial_stride=1),
        # The pool has no weights; it stands with the stage whose frame rate it makes.
        "res3": nn.Sequential(nn.MaxPool3d((2, 1, 1)), res3),
        "res4": bottleneck_stage(512, 256, [3, 1, 3, 1, 3, 1], spatial_stride=2),
        "res5": bottleneck_stage(1024, 512, [1, 3, 1], spatial_stride=2),
        CLASSIFIER: Classifier(2048, classes),
    }
    return Backbone(stages, _I3D_SPECS[clip])


def c2d_r50(classes: int = 400) -> Backbone:
    """C2D R50 for clips of 8 frames at stride 8, as PyTorchVideo publishes it."""
    stages = {
        "stem": stem(temporal_kernel=1),
        "res2": bottleneck_stage(64, 64, [1] * 3, spatial_stride=1),
        "res3": nn.Sequential(nn.MaxPool3d((2, 1, 1)), bottleneck_stage(256, 128, [1] * 4, spatial_stride=2)),
        "res4": bottleneck_stage(512, 256, [1] * 6, spatial_stride=2),
        "res5": bottleneck_stage(1024, 512, [1] * 3, spatial_stride=2),
        CLASSIFIER: Classifier(2048, classes),
    }
    return Backbone(stages, _I3D_SPECS["8x8"])


# Width of the bottlenecks, temporal kernel and spatial stride of each stage (table A.1).
_SGS_STAGES = {"res2": (8, 3, 1), "res3": (64, 1, 2), "res4": (128, 1, 2), "res5": (256, 3, 2)}
_SGS_STEM_CHANNELS = 8
_SGS_STEM_KERNEL = 5

_SGS_SPEC = BackboneSpec(
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
    stages: dict[str, nn.Module] = {"stem": stem(_SGS_STEM_KERNEL, channels=_SGS_STEM_CHANNELS)}
    channels = _SGS_STEM_CHANNELS
    for (name, (width, kernel, stride)), depth in zip(_SGS_STAGES.items(), depths, strict=True):
        stages[name] = bottleneck_stage(channels, width, [kernel] * depth, stride)
        channels = 4 * width
    stages[CLASSIFIER] = Classifier(channels, classes, dropout)
    return Backbone(stages, _SGS_SPEC)
