"""R(2+1)D (Tran et al., CVPR 2018): every t×k×k kernel taken apart into 1×k×k and t×1×1 with a ReLU between.

Two published forms, which differ in more than depth:

* ``r2plus1d_34``, ``r2plus1d_50`` and ``r2plus1d_152`` are those of the paper's authors, to whom the weights trained
  on IG-65M (Ghadiyaram et al., CVPR 2019) belong. The spatial convolution comes first, and has as many channels as
  give the pair the parameters of the 3-D kernel it replaces. res3, res4 and res5 halve time, height and width. They
  were trained on crops of 112×112 and are tested on whole sides of 128, as the published 329.1 GMACs of 152 show.
* ``r2plus1d_r50`` is PyTorchVideo's: the temporal convolution comes first and both are as wide as the bottleneck; all
  four stages halve height and width, res4 and res5 also time.
"""

from __future__ import annotations

from torch import nn

from vidcomp.nn.backbones.base import CLASSIFIER, KINETICS_NORM, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import BLOCKS_BY_DEPTH, Classifier, ConvBN, Residual, Triple

# The authors trained with this epsilon: it belongs to the weights.
_BN_EPS = 1e-3
_STEM_MIDDLE = 45
_STEM_CHANNELS = 64
_WIDTHS = {"res2": 64, "res3": 128, "res4": 256, "res5": 512}


def middle_channels(inputs: int, outputs: int) -> int:
    """Channels between the 1×3×3 and the 3×1×1 kernel that keep the parameters of one 3×3×3 (section 3.5)."""
    return (3 * 3 * 3 * inputs * outputs) // (3 * 3 * inputs + 3 * outputs)


def _factorised(inputs: int, outputs: int, stride: int, suffix: str = "", *, relu: bool = True) -> dict[str, nn.Module]:
    """A 3×3×3 convolution as 1×3×3 and 3×1×1, each with its BatchNorm."""
    middle = middle_channels(inputs, outputs)
    return {
        f"spatial{suffix}": ConvBN(inputs, middle, (1, 3, 3), (1, stride, stride), eps=_BN_EPS),
        f"temporal{suffix}": ConvBN(middle, outputs, (3, 1, 1), (stride, 1, 1), relu=relu, eps=_BN_EPS),
    }


def _basic_block(inputs: int, width: int, stride: int) -> Residual:
    branch = _factorised(inputs, width, stride, "1") | _factorised(width, width, 1, "2", relu=False)
    return Residual(branch, inputs, width, (stride, stride, stride), eps=_BN_EPS)


def _bottleneck_block(inputs: int, width: int, stride: int) -> Residual:
    outputs = 4 * width
    branch = {
        "reduce": ConvBN(inputs, width, eps=_BN_EPS),
        **_factorised(width, width, stride),
        "expand": ConvBN(width, outputs, relu=False, eps=_BN_EPS),
    }
    return Residual(branch, inputs, outputs, (stride, stride, stride), eps=_BN_EPS)


def _of_the_authors(depth: int, classes: int, clip_frames: int, pool: bool) -> Backbone:
    block, expansion = (_bottleneck_block, 4) if depth >= 50 else (_basic_block, 1)
    first = nn.Sequential()
    first.add_module("spatial", ConvBN(3, _STEM_MIDDLE, (1, 7, 7), (1, 2, 2), eps=_BN_EPS))
    first.add_module("temporal", ConvBN(_STEM_MIDDLE, _STEM_CHANNELS, (3, 1, 1), eps=_BN_EPS))
    if pool:
        first.add_module("pool", nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
    stages: dict[str, nn.Module] = {"stem": first}
    inputs = _STEM_CHANNELS
    for (name, width), count in zip(_WIDTHS.items(), BLOCKS_BY_DEPTH[depth], strict=True):
        blocks = []
        for index in range(count):
            blocks.append(block(inputs, width, 2 if index == 0 and name != "res2" else 1))
            inputs = width * expansion
        stages[name] = nn.Sequential(*blocks)
    stages[CLASSIFIER] = Classifier(inputs, classes, dropout=0.0)
    spec = BackboneSpec(
        clip_frames=clip_frames,
        stride=2,
        short_side=128,
        crop=128,
        mean=KINETICS_NORM.mean,
        std=KINETICS_NORM.std,
        temporal_strides={"res3": 2, "res4": 2, "res5": 2},
    )
    return Backbone(stages, spec)


def r2plus1d_34(classes: int = 400, clip_frames: int = 32, pool: bool = False) -> Backbone:
    """R(2+1)D-34 of basic blocks, as published with weights from IG-65M for clips of 8 and of 32 frames.

    ``pool`` adds the max pool after the stem that some weights were trained with.
    """
    return _of_the_authors(34, classes, clip_frames, pool)


def r2plus1d_50(classes: int = 400, clip_frames: int = 32, pool: bool = False) -> Backbone:
    """R(2+1)D-50 of bottlenecks; ``pool`` as in :func:`r2plus1d_34`."""
    return _of_the_authors(50, classes, clip_frames, pool)


def r2plus1d_152(classes: int = 400, clip_frames: int = 32, pool: bool = False) -> Backbone:
    """R(2+1)D-152 of bottlenecks, the largest network of the SFC paper; ``pool`` as in :func:`r2plus1d_34`."""
    return _of_the_authors(152, classes, clip_frames, pool)


def r2plus1d_r50(classes: int = 400) -> Backbone:
    """PyTorchVideo's R(2+1)D-R50 for clips of 16 frames at stride 4."""
    conv: ConvBN = ConvBN(3, _STEM_CHANNELS, (1, 7, 7), (1, 2, 2))
    stages: dict[str, nn.Module] = {"stem": nn.Sequential()}
    stages["stem"].add_module("conv", conv)
    inputs = _STEM_CHANNELS
    for (name, width), count in zip(_WIDTHS.items(), BLOCKS_BY_DEPTH[50], strict=True):
        blocks = []
        for index in range(count):
            time, space = (2 if name in ("res4", "res5") else 1, 2) if index == 0 else (1, 1)
            stride: Triple = (time, space, space)
            branch = {
                "reduce": ConvBN(inputs, width),
                "temporal": ConvBN(width, width, (3, 1, 1), (time, 1, 1)),
                "spatial": ConvBN(width, width, (1, 3, 3), (1, space, space)),
                "expand": ConvBN(width, 4 * width, relu=False),
            }
            blocks.append(Residual(branch, inputs, 4 * width, stride))
            inputs = 4 * width
        stages[name] = nn.Sequential(*blocks)
    stages[CLASSIFIER] = Classifier(inputs, classes)
    spec = BackboneSpec(
        clip_frames=16,
        stride=4,
        short_side=256,
        crop=256,
        mean=PYTORCHVIDEO_NORM.mean,
        std=PYTORCHVIDEO_NORM.std,
        temporal_strides={"res4": 2, "res5": 2},
    )
    return Backbone(stages, spec)
