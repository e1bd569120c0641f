"""The contract every compressor keeps: features in, fewer features in time out, and which frames made which.

Videos of unequal length in one batch are put in buckets: those of the same length run together, and the batch's order
is kept. Nothing is padded, so no zeros enter a convolution or a pool, and a video's result does not depend on its
neighbors.
"""

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
    in_step: bool = False
    """Whether its output's frames stand for equal parts of the frames that it attends to, in the order of time."""

    @abstractmethod
    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress features (N, C, T, H, W) to (N, C, T', H, W) with 1 ≤ T' ≤ T.

        A compressor for networks of several pathways takes a tuple of such features instead.
        With ``need_attention`` the result carries the weights; without, a compressor may skip making them.
        """


class Identity(Compressor):
    """Passes features on untouched, of however many ``channels``."""

    kind = "identity"

    def __init__(self, channels: int = 0) -> None:
        super().__init__()

    def forward(self, features: Features, *, need_attention: bool = False) -> Compressed:
        """Return ``features`` (N, C, T, H, W), or pathways of them, as they are; there is no attention to report."""
        return Compressed(features)


@dataclass(frozen=True)
class Bucket:
    """Features of videos of one length, and which of the batch they are."""

    videos: tuple[int, ...]
    features: Features


@dataclass(frozen=True)
class CompressedBucket:
    """What a compressor made of a bucket."""

    videos: tuple[int, ...]
    result: Compressed


def buckets_of(features: Features | Ragged) -> list[Bucket]:
    """The features of a batch as one bucket, or those of videos that differ as one for each shape."""
    if isinstance(features, Ragged):
        return regroup([CompressedBucket(tuple(range(len(features.videos))), Compressed(features))])
    return [Bucket(tuple(range(len(pathways_of(features)[0]))), features)]


def regroup(compressed: Sequence[CompressedBucket]) -> list[Bucket]:
    """Form the next segment's buckets: videos of equal shape together, in the order of their first video."""
    buckets: list[Bucket] = []
    ragged: dict[tuple[torch.Size, ...], list[tuple[int, Features]]] = {}
    for bucket in compressed:
        features = bucket.result.features
        if not isinstance(features, Ragged):
            buckets.append(Bucket(bucket.videos, features))
            continue
        for index, video in zip(bucket.videos, features.videos, strict=True):
            ragged.setdefault(tuple(part.shape for part in pathways_of(video)), []).append((index, video))
    for members in ragged.values():
        buckets.append(Bucket(tuple(index for index, _ in members), join_features([video for _, video in members])))
    return buckets


def join_logits(buckets: Sequence[Bucket]) -> Tensor:
    """Logits (N, classes) in the batch's order."""
    order = [index for bucket in buckets for index in bucket.videos]
    joined = torch.cat([bucket.features for bucket in buckets if isinstance(bucket.features, Tensor)])
    if order == sorted(order):
        return joined
    return joined[torch.tensor(order, device=joined.device).argsort()]


def join_attention(compressed: Sequence[CompressedBucket]) -> Attention | None:
    """Attention of the whole batch in its order: a tensor where one bucket held it all, one map per video otherwise."""
    if len(compressed) == 1:
        return compressed[0].result.attention
    maps: dict[int, Tensor] = {}
    for bucket in compressed:
        if bucket.result.attention is None:
            return None
        maps.update(zip(bucket.videos, bucket.result.attention, strict=True))
    return tuple(maps[index] for index in sorted(maps))
