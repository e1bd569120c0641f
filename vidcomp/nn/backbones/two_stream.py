"""Two networks side by side, one for what is seen and one for what moves, cut as one (Simonyan and Zisserman, 2014).

Both read every frame. Their features travel as one tensor, one stream's channels after the other's, so that a
compressor weighs a frame by its looks and its motion together. Their logits are added, as the streams' probabilities
would be multiplied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone
from vidcomp.nn.backbones.lite0_slow import lite0_slow
from vidcomp.nn.receptive_field import ReceptiveField, side_by_side

APPEARANCE, MOTION = "appearance", "motion"


class Streams(nn.Module):
    """One stage of both streams."""

    def __init__(self, appearance: nn.Module, motion: nn.Module) -> None:
        super().__init__()
        self.appearance = appearance
        self.motion = motion

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of both."""
        return side_by_side(self.appearance, self.motion)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, 2C, T, H, W), appearance first, to (N, 2C', T, H', W')."""
        appearance, motion = _parted(features)
        return torch.cat([self.appearance(appearance), self.motion(motion)], dim=1)


class StreamsStem(Streams):
    """The first stage: both streams see the clip."""

    def forward(self, clip: Tensor) -> Tensor:
        """Map clips (N, 3, T, H, W) to (N, 2C, T, H, W)."""
        return torch.cat([self.appearance(clip), self.motion(clip)], dim=1)


class StreamsClassifier(Streams):
    """The last stage: logits of both, added."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, 2C, T, H, W) to logits (N, classes)."""
        appearance, motion = _parted(features)
        logits: Tensor = self.appearance(appearance) + self.motion(motion)
        return logits


def _parted(features: Tensor) -> tuple[Tensor, Tensor]:
    appearance, motion = features.chunk(2, dim=1)
    # A slice of the channels is not laid out as convolutions are fast on.
    layout = torch.channels_last_3d
    return appearance.contiguous(memory_format=layout), motion.contiguous(memory_format=layout)


def join(appearance: Backbone, motion: Backbone) -> Backbone:
    """Put two networks of the same stages and channels side by side, sharing their weights."""
    stages: dict[str, nn.Module] = {}
    for name in appearance.stages:
        kind = StreamsStem if not stages else StreamsClassifier if name == CLASSIFIER else Streams
        stages[name] = kind(appearance.stages[name], motion.stages[name])
    return Backbone(stages, appearance.spec)


def lite0_two_stream(classes: int, dropout: float = 0.2) -> Backbone:
    """Two :func:`lite0_slow` networks, the second looking at the differences between frames."""
    return join(lite0_slow(classes, dropout), lite0_slow(classes, dropout, motion=True))
