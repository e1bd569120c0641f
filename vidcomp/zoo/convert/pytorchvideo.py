"""PyTorchVideo's model zoo: SLOW_8x8_R50, I3D_8x8_R50, R2PLUS1D_16x4_R50, SLOWFAST_4x16_R50, X3D_S and more (.pyth).

Its networks are lists of blocks: 0 is the stem, the last the head, and a pool between stages takes a number too.
"""

from __future__ import annotations

from vidcomp.nn.backbones.base import PYTORCHVIDEO_NORM
from vidcomp.zoo.convert.engine import Rename, Rule, Source


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
