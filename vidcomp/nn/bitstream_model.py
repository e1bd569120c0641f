"""A model over groups of pictures: encoders → compressor → transformer → mixer → classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vidcomp.nn.backbones.base import Backbone
from vidcomp.nn.bitstream.tokens import JointTransformer
from vidcomp.nn.compressors.base import (
    Compressed,
    CompressedBucket,
    Features,
    Ragged,
    buckets_of,
    join_attention,
    regroup,
)
from vidcomp.nn.video_model import ModelOutput
from vidcomp.nn.whole_video import CompressedModel, Insertion


class BitstreamModel(CompressedModel):
    """A backbone over bitstreams with a compressor inserted: a frame of its features is a group of pictures.

    Behind the compressor's attention stands that of the transformer, rolled out over its layers.
    """

    def __init__(self, backbone: Backbone, insertions: Sequence[Insertion]) -> None:
        super().__init__(backbone, insertions)
        self.temporal_strides = (*self.temporal_strides, 1)

    @property
    def attention_kinds(self) -> tuple[str, ...]:
        """The compressor's, and the transformer."""
        return (*super().attention_kinds, "transformer")

    def encode(self, chunks: Iterable[Mapping[str, Tensor]], *, remainder: int | None = None) -> Features:  # type: ignore[override]
        """Features (1, D, T, 4, M · 4) of the T groups of one video, each of which is encoded by itself.

        ``chunks`` are as the ``encoders`` of the backbone take them.

        Raises:
            ValueError: there is not a single group.
        """
        pieces = [self.head(chunk) for chunk in chunks]
        if not pieces:
            raise ValueError("a video needs at least one group of pictures")
        return torch.cat(pieces, dim=2)

    def finish(
        self, features: Features | Ragged, *, need_attention: bool = False, need_moments: bool = False
    ) -> ModelOutput:
        """Run everything after the encoders on features (N, D, T, 4, M · 4), or on videos that differ in T."""
        output = super().finish(features, need_attention=need_attention, need_moments=need_moments)
        maps = self._rolled_out(features) if need_attention else []
        return replace(output, attention=(*output.attention, join_attention(maps) if maps else None))

    def _rolled_out(self, features: Features | Ragged) -> list[CompressedBucket]:
        """The transformer's attention, for which it sees what the compressor left once more: it is small."""
        (compressor,) = self.compressors
        transformer = next(part for part in self.segments[-1].modules() if isinstance(part, JointTransformer))
        compressed = [CompressedBucket(bucket.videos, compressor(bucket.features)) for bucket in buckets_of(features)]
        maps = []
        for bucket in regroup(compressed):
            assert isinstance(bucket.features, Tensor)
            weights = transformer.rollout(bucket.features)
            maps.append(CompressedBucket(bucket.videos, Compressed(bucket.features, weights)))
        return maps
