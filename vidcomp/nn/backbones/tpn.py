"""Temporal Pyramid Network (Yang et al., CVPR 2020) on Slow-only R50: two levels of features, two flows between them.

The levels are what res4 and res5 give out, so that after res5 two tensors travel on together, and the network cannot
be cut there. res4's are brought to the size of res5's (spatial modulation); each level is pooled over eight frames of
its own temporal convolution (temporal modulation); then information flows from the top level down and, starting from
that, from the bottom up; what the two flows give is fused and classified.

The auxiliary head of the training is not part of the network here; the paper's parameters do not count it either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone
from vidcomp.nn.backbones.residual import Classifier, ConvBN
from vidcomp.nn.backbones.resnets import slow_spec, slow_stages

_LEVELS = (1024, 2048)
_PYRAMID = 1024
_FUSED = 2048
_GROUPS = 32
_POOLED_FRAMES = 8

Levels = tuple[Tensor, Tensor]


class BothLevels(nn.Module):
    """res5, passing on its own input beside its output."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, features: Tensor) -> Levels:
        """Map res4's features (N, 1024, T, H, W) to themselves and res5's (N, 2048, T, H/2, W/2)."""
        return features, self.stage(features)


class TemporalModulation(nn.Module):
    """A grouped 3×1×1 convolution, and the maximum over every eight frames of it (the last few included)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(_LEVELS[-1], _PYRAMID, (3, 1, 1), padding=(1, 0, 0), groups=_GROUPS, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, 2048, T, H, W) to (N, 1024, ⌈T/8⌉, H, W)."""
        return F.max_pool3d(self.conv(features), (_POOLED_FRAMES, 1, 1), ceil_mode=True)


class LevelFusion(nn.Module):
    """Both levels of a flow, each through a grouped 1×1×1 convolution, joined and mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ConvBN(_PYRAMID, _PYRAMID, groups=_GROUPS) for _ in _LEVELS)
        self.fusion = ConvBN(_PYRAMID * len(_LEVELS), _FUSED)

    def forward(self, bottom: Tensor, top: Tensor) -> Tensor:
        """Map two tensors (N, 1024, T, H, W) to one (N, 2048, T, H, W)."""
        joined = torch.cat([level(x) for level, x in zip(self.levels, (bottom, top), strict=True)], dim=1)
        fused: Tensor = self.fusion(joined)
        return fused


class TemporalPyramid(nn.Module):
    """The neck: spatial and temporal modulation, the flows down and up, and their fusion."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial_modulation = ConvBN(_LEVELS[0], _LEVELS[1], (1, 3, 3), (1, 2, 2))
        self.temporal_modulation = nn.ModuleList(TemporalModulation() for _ in _LEVELS)
        self.upward = nn.Conv3d(_PYRAMID, _PYRAMID, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.fusion_down = LevelFusion()
        self.fusion_up = LevelFusion()
        self.fusion = ConvBN(2 * _FUSED, 2048)

    def forward(self, levels: Levels) -> Tensor:
        """Map res4's and res5's features to (N, 2048, ⌈T/8⌉, H/2, W/2) of res4's H and W."""
        bottom = self.temporal_modulation[0](self.spatial_modulation(levels[0]))
        top = self.temporal_modulation[1](levels[1])
        bottom = bottom + top
        downward = self.fusion_down(bottom, top)
        # The published weights were trained with the upward flow starting from the downward one's result.
        top = top + self.upward(bottom)
        fused: Tensor = self.fusion(torch.cat([downward, self.fusion_up(bottom, top)], dim=1))
        return fused


class PyramidClassifier(nn.Module):
    """The temporal pyramid and the classifier on top of it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pyramid = TemporalPyramid()
        self.classifier = Classifier(2048, classes)

    def forward(self, levels: Levels) -> Tensor:
        """Map res4's and res5's features to logits (N, classes)."""
        logits: Tensor = self.classifier(self.pyramid(levels))
        return logits


def tpn_r50(classes: int = 400, clip: str = "8x8") -> Backbone:
    """TPN-50 on Slow-only R50 for clips of ``clip`` (4x16, 8x8, 16x4 or 32x2: frames × stride).

    Raises:
        ValueError: ``clip`` is another.
    """
    stages = slow_stages()
    stages["res5"] = BothLevels(stages["res5"])
    stages[CLASSIFIER] = PyramidClassifier(classes)
    return Backbone(stages, slow_spec(clip), uncuttable=("res5",))
