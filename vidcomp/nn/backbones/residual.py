"""The pieces that the residual video networks share: convolution with BatchNorm, residual block, classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.layers import FramewiseConv3d, MomentClassifier
from vidcomp.nn.receptive_field import ReceptiveField, receptive_field, side_by_side

Triple = tuple[int, int, int]

# Blocks of each residual stage (res2 … res5) by the depth of the network (He et al., CVPR 2016, table 1).
BLOCKS_BY_DEPTH: dict[int, tuple[int, int, int, int]] = {
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    152: (3, 8, 36, 3),
}


class ConvBN(nn.Module):
    """A convolution padded to keep its size (divided by its stride), BatchNorm, and ReLU where asked for."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        *,
        groups: int = 1,
        relu: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = FramewiseConv3d if kernel[0] == stride[0] == 1 else nn.Conv3d
        self.conv = conv(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=eps)
        self.relu = relu

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of the convolution."""
        return receptive_field(self.conv)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T/stride, H/stride, W/stride), rounded up."""
        out: Tensor = self.bn(self.conv(features))
        return F.relu(out, inplace=True) if self.relu else out


class Residual(nn.Module):
    """ReLU(branch(x) + shortcut(x)); the shortcut is a strided projection where the shape changes."""

    def __init__(
        self, branch: Mapping[str, nn.Module], inputs: int, outputs: int, stride: Triple, *, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential()
        for name, layer in branch.items():
            self.branch.add_module(name, layer)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != (1, 1, 1):
            self.shortcut = ConvBN(inputs, outputs, stride=stride, relu=False, eps=eps)

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of branch and shortcut."""
        return side_by_side(self.branch, self.shortcut)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T/stride, H/stride, W/stride), rounded up."""
        return F.relu(self.branch(features) + self.shortcut(features), inplace=True)


def bottleneck_stage(inputs: int, width: int, temporal_kernels: Sequence[int], spatial_stride: int) -> nn.Sequential:
    """Bottlenecks t×1×1 → 1×3×3 → 1×1×1 of width, width and 4·width channels, one for each temporal kernel.

    The stage strides in the 3×3 convolution of its first block, and never in time.
    """
    outputs = 4 * width
    blocks = []
    for index, kernel in enumerate(temporal_kernels):
        stride = (1, spatial_stride, spatial_stride) if index == 0 else (1, 1, 1)
        branch = {
            "reduce": ConvBN(inputs, width, (kernel, 1, 1)),
            "spatial": ConvBN(width, width, (1, 3, 3), stride),
            "expand": ConvBN(width, outputs, relu=False),
        }
        blocks.append(Residual(branch, inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*blocks)


def stem(temporal_kernel: int, *, channels: int = 64, conv_stride: int = 1, pool_stride: int = 1) -> nn.Sequential:
    """A t×7×7 convolution to ``channels`` channels and a 1×3×3 max pool, each halving height and width.

    ``conv_stride`` and ``pool_stride`` are their strides in time.
    """
    layers = nn.Sequential()
    layers.add_module("conv", ConvBN(3, channels, (temporal_kernel, 7, 7), (conv_stride, 2, 2)))
    layers.add_module("pool", nn.MaxPool3d((1, 3, 3), (pool_stride, 2, 2), (0, 1, 1)))
    return layers


class Classifier(MomentClassifier):
    """The mean over time and space, dropout, and a linear layer."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, classes)."""
        logits: Tensor = self.linear(self.dropout(features.mean(dim=(2, 3, 4))))
        return logits

    def moments(self, features: Tensor) -> Tensor:
        """Logits (N, T, classes) of each frame: the linear layer of their mean is the mean of the linear layer's."""
        logits: Tensor = self.linear(features.mean(dim=(3, 4)).transpose(1, 2))
        return logits
