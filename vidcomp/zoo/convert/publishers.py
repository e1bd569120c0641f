"""What publishers call the layers of the networks here.

To support another: a :class:`Source` here, and its name in :data:`~vidcomp.zoo.convert.SOURCES`.
"""

from __future__ import annotations

import itertools
import re

from vidcomp.nn.backbones.base import IMAGENET_NORM, KINETICS_NORM, PYTORCHVIDEO_NORM
from vidcomp.nn.backbones.torchvision_video import S3D_FIRST_LAYER
from vidcomp.zoo.convert.engine import Leave, Rename, Rule, Source

# PyTorchVideo: SLOW_8x8_R50, I3D_8x8_R50, R2PLUS1D_16x4_R50, SLOWFAST_4x16_R50, X3D_S and more. Its networks are lists
# of blocks: 0 is the stem, the last the head, and a pool between stages takes a number too.


def _blocks(stages: dict[int, str], head: int) -> tuple[Rule, ...]:
    return (
        Rename(r"^blocks\.0\.conv\.", "stages.stem.conv.conv."),
        Rename(r"^blocks\.0\.norm\.", "stages.stem.conv.bn."),
        *(Rename(rf"^blocks\.{number}\.res_blocks\.", f"stages.{name}.") for number, name in stages.items()),
        Rename(rf"^blocks\.{head}\.proj\.", "stages.classifier.linear."),
        Rename(r"\.branch1_conv\.", ".shortcut.conv."),
        Rename(r"\.branch1_norm\.", ".shortcut.bn."),
    )


# Inside a residual block, conv_a reduces, conv_b is in the middle, conv_c expands.
_BOTTLENECK: tuple[Rule, ...] = (
    Rename(r"\.branch2\.conv_a\.", ".branch.reduce.conv."),
    Rename(r"\.branch2\.norm_a\.", ".branch.reduce.bn."),
    Rename(r"\.branch2\.conv_b\.", ".branch.spatial.conv."),
    Rename(r"\.branch2\.norm_b\.", ".branch.spatial.bn."),
    Rename(r"\.branch2\.conv_c\.", ".branch.expand.conv."),
    Rename(r"\.branch2\.norm_c\.", ".branch.expand.bn."),
)

_SLOW = (*_blocks({1: "res2", 2: "res3", 3: "res4", 4: "res5"}, head=5), *_BOTTLENECK)

# Block 2 is the temporal pool, which in our network stands before the blocks of res3.
_I3D = (*_blocks({1: "res2", 3: "res3.1", 4: "res4", 5: "res5"}, head=6), *_BOTTLENECK)

# The temporal convolution, its BatchNorm and the spatial convolution are all within conv_b.
_R2PLUS1D = (
    *_blocks({1: "res2", 2: "res3", 3: "res4", 4: "res5"}, head=5),
    Rename(r"\.branch2\.conv_b\.conv_t\.", ".branch.temporal.conv."),
    Rename(r"\.branch2\.conv_b\.norm\.", ".branch.temporal.bn."),
    Rename(r"\.branch2\.conv_b\.conv_xy\.", ".branch.spatial.conv."),
    *_BOTTLENECK,
)

_STAGE_NAMES = ("stem", "res2", "res3", "res4", "res5")

# Pathway 0 is the slow one. The fusion is our lateral connection; block 5 pools and has no weights.
_SLOWFAST: tuple[Rule, ...] = (
    *(Rename(rf"^blocks\.{number}\.multipathway_", f"stages.{name}.") for number, name in enumerate(_STAGE_NAMES)),
    Rename(r"\.fusion\.conv_fast_to_slow\.", ".lateral.convolution.conv."),
    Rename(r"\.fusion\.norm\.", ".lateral.convolution.bn."),
    Rename(r"\.blocks\.0\.", ".slow."),
    Rename(r"\.blocks\.1\.", ".fast."),
    Rename(r"^stages\.stem\.(slow|fast)\.conv\.", r"stages.stem.\1.conv.conv."),
    Rename(r"^stages\.stem\.(slow|fast)\.norm\.", r"stages.stem.\1.conv.bn."),
    Rename(r"\.res_blocks\.", "."),
    Rename(r"\.branch1_conv\.", ".shortcut.conv."),
    Rename(r"\.branch1_norm\.", ".shortcut.bn."),
    *_BOTTLENECK,
    Rename(r"^blocks\.6\.proj\.", "stages.classifier.linear."),
)

# In the stem the names conv_t and conv_xy are the wrong way round there: conv_t is the 1×3×3 convolution.
_X3D: tuple[Rule, ...] = (
    Rename(r"^blocks\.0\.conv\.conv_t\.", "stages.stem.spatial."),
    Rename(r"^blocks\.0\.conv\.conv_xy\.", "stages.stem.temporal.conv."),
    Rename(r"^blocks\.0\.norm\.", "stages.stem.temporal.bn."),
    *(Rename(rf"^blocks\.{number}\.res_blocks\.", f"stages.res{number + 1}.") for number in range(1, 5)),
    # Only res2 keeps its number of channels, and its shortcut then has no BatchNorm.
    Rename(r"^stages\.res2\.0\.branch1_conv\.", "stages.res2.0.shortcut."),
    Rename(r"\.branch1_conv\.", ".shortcut.conv."),
    Rename(r"\.branch1_norm\.", ".shortcut.bn."),
    Rename(r"\.branch2\.conv_a\.", ".expand.conv."),
    Rename(r"\.branch2\.norm_a\.", ".expand.bn."),
    Rename(r"\.branch2\.conv_b\.", ".depthwise.conv."),
    Rename(r"\.branch2\.norm_b\.0\.", ".depthwise.bn."),
    Rename(r"\.branch2\.norm_b\.1\.block\.0\.", ".squeeze.squeeze."),
    Rename(r"\.branch2\.norm_b\.1\.block\.2\.", ".squeeze.excite."),
    Rename(r"\.branch2\.conv_c\.", ".project.conv."),
    Rename(r"\.branch2\.norm_c\.", ".project.bn."),
    Rename(r"^blocks\.5\.pool\.pre_conv\.", "stages.classifier.expand.conv."),
    Rename(r"^blocks\.5\.pool\.pre_norm\.", "stages.classifier.expand.bn."),
    Rename(r"^blocks\.5\.pool\.post_conv\.", "stages.classifier.widen."),
    Rename(r"^blocks\.5\.proj\.", "stages.classifier.linear."),
)

PYTORCHVIDEO = Source(
    summary="PyTorchVideo's model zoo (.pyth)",
    # XS, S and M are one network: without being told, the converter calls all three x3d_s.
    families={
        "slow_r50": _SLOW,
        "i3d_r50": _I3D,
        "c2d_r50": _I3D,
        "r2plus1d_r50": _R2PLUS1D,
        "slowfast_4x16_r50": _SLOWFAST,
        "slowfast_8x8_r50": _SLOWFAST,
        "x3d_s": _X3D,
        "x3d_xs": _X3D,
        "x3d_m": _X3D,
        "x3d_l": _X3D,
    },
    normalization=PYTORCHVIDEO_NORM,
)


# MMAction2: slowonly_r50_*, i3d_r50_* and tpn_slowonly_r50_*. Every convolution there is a module of three, of which
# `conv` and `bn` have weights, as ours.


def _mmaction2(res3: str = "res3", res5: str = "res5", linear: str = "stages.classifier.linear.") -> tuple[Rule, ...]:
    return (
        Rename(r"^backbone\.conv1\.", "stages.stem.conv."),
        Rename(r"^backbone\.layer1\.", "stages.res2."),
        Rename(r"^backbone\.layer2\.", f"stages.{res3}."),
        Rename(r"^backbone\.layer3\.", "stages.res4."),
        Rename(r"^backbone\.layer4\.", f"stages.{res5}."),
        Rename(r"^(stages\..*)\.conv1\.", r"\1.branch.reduce."),
        Rename(r"^(stages\..*)\.conv2\.", r"\1.branch.spatial."),
        Rename(r"^(stages\..*)\.conv3\.", r"\1.branch.expand."),
        Rename(r"^(stages\..*)\.downsample\.", r"\1.shortcut."),
        Rename(r"^cls_head\.fc_cls\.", linear),
    )


_MMACTION2_TPN: tuple[Rule, ...] = (
    *_mmaction2(res5="res5.stage", linear="stages.classifier.classifier.linear."),
    Leave(r"^neck\.aux_head\.", "the auxiliary head is used in training only"),
    Rename(r"^neck\.", "stages.classifier.pyramid."),
    Rename(r"\.spatial_modulation\.spatial_modulation\.0\.0\.", ".spatial_modulation."),
    Rename(r"\.temporal_modulation_ops\.(\d)\.conv\.conv\.", r".temporal_modulation.\1.conv."),
    Rename(r"\.downsample_ops\.0\.conv\.conv\.", ".upward."),
    Rename(r"\.level_fusion_1\.", ".fusion_down."),
    Rename(r"\.level_fusion_2\.", ".fusion_up."),
    Rename(r"\.downsamples\.(\d)\.conv\.", r".levels.\1."),
    Rename(r"\.fusion_conv\.", ".fusion."),
    Rename(r"\.pyramid_fusion\.", ".fusion."),
)

MMACTION2 = Source(
    summary="MMAction2's model zoo (.pth)",
    # I3D's res3 begins with the temporal pool, which has no weights.
    families={"slow_r50": _mmaction2(), "i3d_r50": _mmaction2(res3="res3.1"), "tpn_r50": _MMACTION2_TPN},
    normalization=IMAGENET_NORM,
)


# The Temporal Pyramid Network's own release: Slow-only R50, which the SFC paper took its weights from, and TPN-50.


def _tpn(res5: str = "res5", linear: str = "stages.classifier.linear.") -> tuple[Rule, ...]:
    return (
        Rename(r"^module\.", ""),
        Rename(r"^backbone\.conv1\.", "stages.stem.conv.conv."),
        Rename(r"^backbone\.bn1\.", "stages.stem.conv.bn."),
        Rename(r"^backbone\.layer1\.", "stages.res2."),
        Rename(r"^backbone\.layer2\.", "stages.res3."),
        Rename(r"^backbone\.layer3\.", "stages.res4."),
        Rename(r"^backbone\.layer4\.", f"stages.{res5}."),
        Rename(r"^(stages\.res.*)\.conv1\.", r"\1.branch.reduce.conv."),
        Rename(r"^(stages\.res.*)\.bn1\.", r"\1.branch.reduce.bn."),
        Rename(r"^(stages\.res.*)\.conv2\.", r"\1.branch.spatial.conv."),
        Rename(r"^(stages\.res.*)\.bn2\.", r"\1.branch.spatial.bn."),
        Rename(r"^(stages\.res.*)\.conv3\.", r"\1.branch.expand.conv."),
        Rename(r"^(stages\.res.*)\.bn3\.", r"\1.branch.expand.bn."),
        Rename(r"^(stages\.res.*)\.downsample\.0\.", r"\1.shortcut.conv."),
        Rename(r"^(stages\.res.*)\.downsample\.1\.", r"\1.shortcut.bn."),
        Rename(r"^cls_head\.fc_cls\.", linear),
    )


_TPN_RELEASE: tuple[Rule, ...] = (
    *_tpn(res5="res5.stage", linear="stages.classifier.classifier.linear."),
    Leave(r"^necks\.aux_head\.", "the auxiliary head is used in training only"),
    Rename(r"^necks\.", "stages.classifier.pyramid."),
    Rename(r"\.spatial_modulation\.spatial_modulation\.0\.0\.", ".spatial_modulation."),
    Rename(r"\.temporal_modulation_ops\.", ".temporal_modulation."),
    Rename(r"\.downsampling_ops\.0\.conv\.", ".upward."),
    # The release numbers the fusion of the downward flow 2 and gives that of the upward one no number.
    Rename(r"\.level_fusion_op2\.", ".fusion_down."),
    Rename(r"\.level_fusion_op\.", ".fusion_up."),
    Rename(r"\.ops\.(\d)\.conv\.", r".levels.\1.conv."),
    Rename(r"\.ops\.(\d)\.norm\.", r".levels.\1.bn."),
    Rename(r"\.(?:fusion_conv|pyramid_fusion_op)\.0\.", ".fusion.conv."),
    Rename(r"\.(?:fusion_conv|pyramid_fusion_op)\.1\.", ".fusion.bn."),
)

TPN = Source(
    summary="the Temporal Pyramid Network's release (.pth)",
    families={"slow_r50": _tpn(), "tpn_r50": _TPN_RELEASE},
    normalization=IMAGENET_NORM,
)


# R(2+1)D of the paper's authors, trained on IG-65M, in the key names of VMZ and of ig65m-pytorch. Both keep
# torchvision's names: in a (2+1)D convolution, 0 is the spatial kernel, 1 its BatchNorm, 3 the temporal kernel.

_VMZ: tuple[Rule, ...] = (
    Rename(r"^module\.", ""),
    Rename(r"^stem\.0\.", "stages.stem.spatial.conv."),
    Rename(r"^stem\.1\.", "stages.stem.spatial.bn."),
    Rename(r"^stem\.3\.", "stages.stem.temporal.conv."),
    Rename(r"^stem\.4\.", "stages.stem.temporal.bn."),
    Rename(r"^layer1\.", "stages.res2."),
    Rename(r"^layer2\.", "stages.res3."),
    Rename(r"^layer3\.", "stages.res4."),
    Rename(r"^layer4\.", "stages.res5."),
    Rename(r"\.downsample\.0\.", ".shortcut.conv."),
    Rename(r"\.downsample\.1\.", ".shortcut.bn."),
    Rename(r"^fc\.", "stages.classifier.linear."),
)

# Two (2+1)D convolutions, numbered 1 and 2 there and here.
_VMZ_BASIC: tuple[Rule, ...] = (
    *_VMZ,
    Rename(r"\.conv([12])\.0\.0\.", r".branch.spatial\1.conv."),
    Rename(r"\.conv([12])\.0\.1\.", r".branch.spatial\1.bn."),
    Rename(r"\.conv([12])\.0\.3\.", r".branch.temporal\1.conv."),
    Rename(r"\.conv([12])\.1\.", r".branch.temporal\1.bn."),
)

# conv1 reduces, conv2 is the (2+1)D convolution, conv3 expands.
_VMZ_BOTTLENECK: tuple[Rule, ...] = (
    *_VMZ,
    Rename(r"\.conv2\.0\.0\.", ".branch.spatial.conv."),
    Rename(r"\.conv2\.0\.1\.", ".branch.spatial.bn."),
    Rename(r"\.conv2\.0\.3\.", ".branch.temporal.conv."),
    Rename(r"\.conv2\.1\.", ".branch.temporal.bn."),
    Rename(r"\.conv1\.0\.", ".branch.reduce.conv."),
    Rename(r"\.conv1\.1\.", ".branch.reduce.bn."),
    Rename(r"\.conv3\.0\.", ".branch.expand.conv."),
    Rename(r"\.conv3\.1\.", ".branch.expand.bn."),
)

VMZ = Source(
    summary="R(2+1)D trained on IG-65M or Sports-1M, as VMZ and ig65m-pytorch publish it (.pth)",
    families={"r2plus1d_34": _VMZ_BASIC, "r2plus1d_50": _VMZ_BOTTLENECK, "r2plus1d_152": _VMZ_BOTTLENECK},
    normalization=KINETICS_NORM,
)


# torchvision: its layers keep their names within the stages they were sliced into.


def _sliced(prefixes: dict[str, str]) -> tuple[Rule, ...]:
    return tuple(Rename(rf"^{re.escape(old)}\.", f"stages.{new}.") for old, new in prefixes.items())


_TV_RESNET = _sliced(
    {"stem": "stem", "layer1": "res2", "layer2": "res3", "layer3": "res4", "layer4": "res5", "fc": "classifier.2"}
)
_S3D_STARTS = list(S3D_FIRST_LAYER.items())
_TV_S3D = _sliced(
    {"classifier": "classifier.layers"}
    | {
        f"features.{layer}": f"{name}.{layer - start}"
        for (name, start), (_, end) in itertools.pairwise([*_S3D_STARTS, ("", 16)])
        for layer in range(start, end)
    }
)
_TV_MVIT = _sliced(
    {name: f"trunk.{name}" for name in ("conv_proj", "pos_encoding", "blocks", "norm")} | {"head.1": "classifier.2"}
)
_TV_SWIN = _sliced(
    {"patch_embed": "stem.patch_embed", "features.0": "stage1.0", "norm": "stage4.2", "head": "classifier.2"}
    | {f"features.{layer}": f"stage{(layer + 3) // 2}.{(layer + 1) % 2}" for layer in range(1, 7)}
)

TORCHVISION = Source(
    summary="torchvision's video models (.pth)",
    families={
        **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), _TV_RESNET),
        "s3d": _TV_S3D,
        **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), _TV_MVIT),
        **dict.fromkeys(("swin3d_t", "swin3d_s", "swin3d_b"), _TV_SWIN),
    },
    normalization=None,
)
