"""The contract every compressor keeps: features in, fewer features in time out, and which frames made which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

# A batch of features (N, C, T, H, W); in a network of several pathways, one such tensor a pathway.
Features: TypeAlias = Tensor | tuple[Tensor, ...]

# For every output frame, its weights over the input frames: (N, T', T), or N maps (T', T) whose T' differ.
Attention: TypeAlias = Tensor | tuple[Tensor, ...]


def pathways_of(features: Features) -> tuple[Tensor, ...]:
    """The features of each pathway; of one, where there is no more."""
    return (features,) if isinstance(features, Tensor) else features


def map_pathways(features: Features, function: Callable[[Tensor], Tensor]) -> Features:
    """The features with each pathway changed by the function."""
    mapped = tuple(function(part) for part in pathways_of(features))
    return mapped[0] if isinstance(features, Tensor) else mapped


def join_features(videos: Sequence[Features]) -> Features:
    """Videos of one shape as a batch; a single one is not copied."""
    if len(videos) == 1:
        return videos[0]
    joined = tuple(torch.cat(parts) for parts in zip(*map(pathways_of, videos), strict=True))
    return joined[0] if isinstance(videos[0], Tensor) else joined


class FeaturesError(ValueError):
    """Features that no compressor can work on: NaN or infinite values, or no frame at all.

    ``kind`` is the stable short name of the failure in results.
    """

    kind = "bad_features"


@dataclass(frozen=True)
class Ragged:
    """A batch whose videos differ in length: each of the N videos as a batch of one, in the order they came."""

    videos: tuple[Features, ...]


@dataclass(frozen=True)
class Compressed:
    """What a compressor made of a batch of N videos.

    ``features`` has shape (N, C, T', H, W), or is :class:`Ragged` where T' may differ from video to video.
    ``attention`` holds for every output frame its weights over the input frames, (N, T', T) or N maps (T', T); it is
    ``None`` where output frame t simply is input frame t, or where nobody asked for it.
    """

    features: Features | Ragged
    attention: Attention | None = None


class Compressor(nn.Module, ABC):
    """Drops in time what is redundant, between two stages of a backbone.

    ``kind`` is its name in manifests and results. Compressors are interchangeable and may be chained.
    """

    kind: str

    @abstractmethod
    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress features (N, C, T, H, W) to (N, C, T', H, W) with 1 ≤ T' ≤ T.

        A compressor for networks of several pathways takes a tuple of such features instead.
        With ``need_attention`` the result carries the weights; without, a compressor may skip making them.
        """
