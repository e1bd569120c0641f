"""X3D (Feichtenhofer, CVPR 2020): a small 2-D network expanded step by step along time, size, width and depth.

Inverted bottlenecks with a depthwise 3×3×3 convolution in the middle, squeeze-and-excitation in every other block,
and a head that widens before it pools. Nothing strides in time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import ConvBN
from vidcomp.nn.receptive_field import ReceptiveField, one_after_the_other

# Channels and blocks of the network that X3D expands, by stage; every stage halves height and width.
_STAGES = {"res2": (12, 1), "res3": (24, 2), "res4": (48, 5), "res5": (96, 3)}
_STEM_CHANNELS = 12
_STEM_KERNEL = 5
_EXPANSION = 2.25
_SQUEEZE = 1 / 16
_HEAD_FEATURES = 2048


@dataclass(frozen=True)
class Expansion:
    """How far a member of the family is expanded: factors of width and depth, and the clips it is tested on."""

    width: float
    depth: float
    clip_frames: int
    stride: int
    short_side: int
    crop: int


# Test sizes of the SGS paper's tables: XS and S from 10 center views, the others from 30 views of whole short sides.
EXPANSIONS = {
    "xs": Expansion(width=2.0, depth=2.2, clip_frames=4, stride=12, short_side=182, crop=160),
    "s": Expansion(width=2.0, depth=2.2, clip_frames=13, stride=6, short_side=182, crop=160),
    "m": Expansion(width=2.0, depth=2.2, clip_frames=16, stride=5, short_side=256, crop=256),
    "l": Expansion(width=2.0, depth=5.0, clip_frames=16, stride=5, short_side=356, crop=356),
    "xl": Expansion(width=2.9, depth=5.0, clip_frames=16, stride=5, short_side=356, crop=356),
}


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not under nine tenths of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SqueezeExcitation(nn.Module):
    """Scales every channel by what two 1×1×1 convolutions make of the channels' averages over time and space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = round_channels(channels * _SQUEEZE)
        self.squeeze = nn.Conv3d(channels, inner, 1)
        self.excite = nn.Conv3d(inner, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to the same shape."""
        scale: Tensor = self.excite(F.relu(self.squeeze(features.mean(dim=(2, 3, 4), keepdim=True))))
        return features * scale.sigmoid()


class X3DBlock(nn.Module):
    """1×1×1 expansion, depthwise 3×3×3 (which carries the spatial stride), 1×1×1 projection, added to a shortcut.

    Where only the size changes the shortcut's projection has no BatchNorm, as in the public weights.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        inner = int(_EXPANSION * outputs)
        strides = (1, stride, stride)
        self.expand = ConvBN(inputs, inner)
        self.depthwise = ConvBN(inner, inner, (3, 3, 3), strides, groups=inner, relu=False)
        self.squeeze: nn.Module = SqueezeExcitation(inner) if squeeze else nn.Identity()
        self.project = ConvBN(inner, outputs, relu=False)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = ConvBN(inputs, outputs, stride=strides, relu=False)
        elif stride != 1:
            self.shortcut = nn.Conv3d(inputs, outputs, 1, stride=strides, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T, H/stride, W/stride)."""
        out = F.silu(self.squeeze(self.depthwise(self.expand(features))))
        return F.relu(self.project(out) + self.shortcut(features))


class X3DStem(nn.Module):
    """1×3×3 convolution of stride 1×2×2, then a depthwise 5×1×1 one; BatchNorm and ReLU after both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(3, channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
        self.temporal = ConvBN(channels, channels, (_STEM_KERNEL, 1, 1), groups=channels)

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of both convolutions."""
        return one_after_the_other(self.spatial, self.temporal)

    def forward(self, clip: Tensor) -> Tensor:
        """Map (N, 3, T, H, W) to (N, C, T, H/2, W/2)."""
        features: Tensor = self.temporal(self.spatial(clip))
        return features


class X3DClassifier(nn.Module):
    """1×1×1 convolution, average over time and space, widening to 2048 features, dropout, linear layer."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        inner = int(_EXPANSION * inputs)
        self.expand = ConvBN(inputs, inner)
        self.widen = nn.Conv3d(inner, _HEAD_FEATURES, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(_HEAD_FEATURES, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, classes)."""
        pooled = self.expand(features).mean(dim=(2, 3, 4), keepdim=True)
        logits: Tensor = self.linear(self.dropout(F.relu(self.widen(pooled)).flatten(1)))
        return logits


def x3d(size: str, classes: int = 400, dropout: float = 0.5) -> Backbone:
    """Build X3D of ``size`` "xs", "s", "m", "l" or "xl".

    XS, S and M are one network on clips of different size.

    Raises:
        ValueError: there is no such size.
    """
    if size not in EXPANSIONS:
        raise ValueError(f"size must be one of {', '.join(EXPANSIONS)}, not {size!r}")
    expansion = EXPANSIONS[size]
    channels = round_channels(_STEM_CHANNELS * expansion.width)
    stages: dict[str, nn.Module] = {"stem": X3DStem(channels)}
    for name, (base_channels, base_blocks) in _STAGES.items():
        outputs = round_channels(base_channels * expansion.width)
        blocks = []
        for index in range(math.ceil(base_blocks * expansion.depth)):
            first = index == 0
            blocks.append(X3DBlock(channels, outputs, stride=2 if first else 1, squeeze=index % 2 == 0))
            channels = outputs
        stages[name] = nn.Sequential(*blocks)
    stages[CLASSIFIER] = X3DClassifier(channels, classes, dropout)
    spec = BackboneSpec(
        clip_frames=expansion.clip_frames,
        stride=expansion.stride,
        short_side=expansion.short_side,
        crop=expansion.crop,
        mean=PYTORCHVIDEO_NORM.mean,
        std=PYTORCHVIDEO_NORM.std,
    )
    return Backbone(stages, spec)


def x3d_xs(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """X3D-XS: 4 frames at stride 12."""
    return x3d("xs", classes, dropout)


def x3d_s(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """X3D-S: 13 frames at stride 6."""
    return x3d("s", classes, dropout)


def x3d_m(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """X3D-M: 16 frames at stride 5."""
    return x3d("m", classes, dropout)


def x3d_l(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """X3D-L: M, deeper."""
    return x3d("l", classes, dropout)


def x3d_xl(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """X3D-XL: L, wider."""
    return x3d("xl", classes, dropout)
