"""R(2+1)D of the paper's authors, trained on IG-65M, in the PyTorch key names of VMZ and of ig65m-pytorch.

Both keep torchvision's names: in a (2+1)D convolution, 0 is the spatial kernel, 1 its BatchNorm, 3 the temporal kernel.
"""

from __future__ import annotations

from vidcomp.nn.backbones.base import KINETICS_NORM
from vidcomp.zoo.convert.engine import Rename, Rule, Source

_COMMON: tuple[Rule, ...] = (
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
_BASIC: tuple[Rule, ...] = (
    *_COMMON,
    Rename(r"\.conv([12])\.0\.0\.", r".branch.spatial\1.conv."),
    Rename(r"\.conv([12])\.0\.1\.", r".branch.spatial\1.bn."),
    Rename(r"\.conv([12])\.0\.3\.", r".branch.temporal\1.conv."),
    Rename(r"\.conv([12])\.1\.", r".branch.temporal\1.bn."),
)

# conv1 reduces, conv2 is the (2+1)D convolution, conv3 expands.
_BOTTLENECK: tuple[Rule, ...] = (
    *_COMMON,
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
    families={"r2plus1d_34": _BASIC, "r2plus1d_50": _BOTTLENECK, "r2plus1d_152": _BOTTLENECK},
    normalization=KINETICS_NORM,
)
