"""Videos of unequal length in one batch: those of the same length run together, and the batch's order is kept.

Nothing is padded, so no zeros enter a convolution or a pool, and a video's result does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidcomp.nn.compressors.base import Attention, Compressed, Features, Ragged, join_features, pathways_of


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
    """Attention of the whole batch in its order: a tensor where one bucket held it all, one map a video otherwise."""
    if len(compressed) == 1:
        return compressed[0].result.attention
    maps: dict[int, Tensor] = {}
    for bucket in compressed:
        if bucket.result.attention is None:
            return None
        maps.update(zip(bucket.videos, bucket.result.attention, strict=True))
    return tuple(maps[index] for index in sorted(maps))
