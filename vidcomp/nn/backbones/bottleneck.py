"""Parts that the residual video networks share: the bottleneck block, a stage of them, and the pooled classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# What the public Kinetics networks of this kind were trained with.
KINETICS_MEAN = (0.45, 0.45, 0.45)
KINETICS_STD = (0.225, 0.225, 0.225)


class Bottleneck(nn.Module):
    """k×1×1, 1×3×3 (which carries the spatial stride) and 1×1×1 convolutions, added to a shortcut.

    The shortcut is the identity, or a 1×1×1 projection where the shape changes.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, temporal_kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 0, 0)
        self.reduce = nn.Conv3d(inputs, inner, (temporal_kernel, 1, 1), padding=padding, bias=False)
        self.reduce_bn = nn.BatchNorm3d(inner)
        self.spatial = nn.Conv3d(inner, inner, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)
        self.spatial_bn = nn.BatchNorm3d(inner)
        self.expand = nn.Conv3d(inner, outputs, 1, bias=False)
        self.expand_bn = nn.BatchNorm3d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride=(1, stride, stride), bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T, H/stride, W/stride)."""
        out = F.relu(self.reduce_bn(self.reduce(features)))
        out = F.relu(self.spatial_bn(self.spatial(out)))
        out = self.expand_bn(self.expand(out)) + self.shortcut(features)
        return F.relu(out)


def bottleneck_stage(
    inputs: int, inner: int, outputs: int, depth: int, temporal_kernel: int = 1, stride: int = 1
) -> nn.Sequential:
    """``depth`` bottlenecks, the first of which changes width and size; every one has the temporal kernel."""
    return nn.Sequential(
        *(
            Bottleneck(inputs if index == 0 else outputs, inner, outputs, temporal_kernel, stride if index == 0 else 1)
            for index in range(depth)
        )
    )


def residual_stem(channels: int, temporal_kernel: int) -> nn.Sequential:
    """k×7×7 convolution of stride 1×2×2 from RGB, BatchNorm, ReLU, and 1×3×3 max pool of stride 1×2×2."""
    return nn.Sequential(
        nn.Conv3d(
            3, channels, (temporal_kernel, 7, 7), stride=(1, 2, 2), padding=(temporal_kernel // 2, 3, 3), bias=False
        ),
        nn.BatchNorm3d(channels),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    )


class PooledClassifier(nn.Module):
    """Average over time and space, dropout, linear layer."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, classes)."""
        logits: Tensor = self.linear(self.dropout(features.mean(dim=(2, 3, 4))))
        return logits
