"""PyTorchVideo's model zoo: SLOW_8x8_R50.pyth, I3D_8x8_R50.pyth, R2PLUS1D_16x4_R50.pyth.

Its networks are lists of blocks: 0 is the stem, the last the head, and a pool between stages takes a number too.
"""

from __future__ import annotations

from vidcomp.zoo.convert.rules import Rename, Rule, Source


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

PYTORCHVIDEO = Source(
    summary="PyTorchVideo's model zoo (.pyth)",
    families={"slow_r50": _SLOW, "i3d_r50": _I3D, "r2plus1d_r50": _R2PLUS1D},
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
