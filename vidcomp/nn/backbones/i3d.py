"""I3D ResNet-50 (Carreira and Zisserman, CVPR 2017, on the residual network of Wang et al., CVPR 2018).

A 5×7×7 stem, 3×1×1 kernels in every other block, and a temporal pool between res2 and res3. Two published forms have
weights of the same shapes and differ in how they stride: for 8 frames at stride 8 the stem keeps every frame, for 32
frames at stride 2 its convolution and its pool halve their number each.
"""

from __future__ import annotations

from torch import nn

from vidcomp.nn.backbones.base import CLASSIFIER, IMAGENET_NORM, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import Classifier, bottleneck_stage, stem

_SPECS = {
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
    if clip not in _SPECS:
        raise ValueError(f"clip must be one of {', '.join(_SPECS)}, not {clip!r}")
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
    return Backbone(stages, _SPECS[clip])
