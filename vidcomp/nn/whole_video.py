"""A backbone cut in two or more, with a compressor at each cut: head → compressor → … → tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from vidcomp.nn.backbones.base import Backbone, BackboneSpec
from vidcomp.nn.compressors.base import (
    Attention,
    Bucket,
    CompressedBucket,
    Compressor,
    Features,
    Ragged,
    buckets_of,
    join_attention,
    join_logits,
    regroup,
)
from vidcomp.nn.layers import MomentClassifier
from vidcomp.nn.receptive_field import ReceptiveField, receptive_field, run_in_chunks
from vidcomp.nn.video_model import ModelOutput, VideoModel

# Frames that a layer's window brings anew for each that it shares with the one before, and computes twice; more than
# so many would take memory for little.
_FRESH = 8
_MOST_FRESH = 64


@dataclass(frozen=True)
class Insertion:
    """A compressor and the stage (``cut``) after which it stands."""

    cut: str
    compressor: Compressor


class CompressedModel(VideoModel):
    """A backbone with one or more compressors inserted (the identity, where nothing is to be compressed).

    The head is what comes before the first compressor, the tail what comes after the last.

    Behind a compressor whose output's length is the video's own (SGS), videos of the same length run together and
    nothing is padded. In training mode a BatchNorm there takes its statistics from each such bucket by itself; keep
    it in evaluation mode where buckets are small.
    """

    def __init__(self, backbone: Backbone, insertions: Sequence[Insertion]) -> None:
        """Cut ``backbone`` where ``insertions`` say.

        Raises:
            CutError: a cut is unknown, repeated or out of the network's order.
        """
        if not insertions:
            raise ValueError("a compressed model needs at least one insertion; use the identity to compress nothing")
        super().__init__()
        self.spec = backbone.spec
        self.cuts_allowed = backbone.cuts
        self.cuts = tuple(insertion.cut for insertion in insertions)
        self.segments = nn.ModuleList(backbone.split(self.cuts))
        self.temporal_strides = tuple(backbone.temporal_stride(cut) for cut in self.cuts)
        self.compressors = nn.ModuleList(insertion.compressor for insertion in insertions)

    @property
    def input_spec(self) -> BackboneSpec:
        """What the backbone wants of a video."""
        return self.spec

    @property
    def head(self) -> nn.Module:
        """The segment that every frame passes."""
        return self.segments[0]

    @cached_property
    def head_field(self) -> ReceptiveField | None:
        """How far in time the head looks; ``None`` where it cannot be run in chunks."""
        return receptive_field(self.head)

    def _parts(self, whole: ReceptiveField) -> list[tuple[nn.Module, ReceptiveField]]:
        """What of the head runs in windows of its own, as few frames as possible being computed twice."""
        # A head that was compiled is one module; one that looks at single frames has nothing to compute twice.
        if whole.framewise or not isinstance(self.head, nn.Sequential):
            return [(self.head, whole)]
        fields = ((layer, receptive_field(layer)) for layer in _layers_of(self.head))
        return [(layer, field) for layer, field in fields if field is not None]

    def forward(self, clip: Tensor, *, need_attention: bool = False) -> ModelOutput:
        """Run normalized clips (N, 3, T, H, W) from the first frame to the logits."""
        return self.finish(self.head(clip), need_attention=need_attention)

    def encode(self, chunks: Iterable[Tensor], *, remainder: int | None = None) -> Features:
        """Run the head over consecutive chunks (N, 3, t, H, W) of one video and join the features in time.

        The result equals one pass over all frames (to rounding), whatever the chunks' lengths: each layer's windows
        overlap by as much as it looks around itself. Memory is bounded by a chunk, those overlaps and the features;
        only a head that pools over the whole video, or that has several pathways, needs all frames at once.

        ``remainder`` is that of the number of frames, divided by the stride of :attr:`head_field`. A head that pads by
        the length (:attr:`ReceptiveField.by_length`) waits for all chunks where it is not given.

        Raises:
            ValueError: there is not a single frame.
        """
        if self.head_field is not None:
            for stage, field in self._parts(self.head_field):
                fresh = min(_FRESH * field.overlap, _MOST_FRESH)
                chunks = run_in_chunks(stage, field, chunks, remainder=remainder, fresh=fresh)
                remainder = None if remainder is None else -(-remainder // field.stride)
        pieces = list(chunks)
        if not pieces:
            raise ValueError("a video needs at least one frame")
        joined = torch.cat(pieces, dim=2)
        if self.head_field is not None:
            return joined
        features: Features = self.head(joined)
        return features

    @property
    def moment_classifier(self) -> MomentClassifier | None:
        """The last stage, if it names moments."""
        last = self.segments[-1][-1]  # type: ignore[index]  # segments are sequences of stages
        return last if isinstance(last, MomentClassifier) else None

    def finish(
        self, features: Features | Ragged, *, need_attention: bool = False, need_moments: bool = False
    ) -> ModelOutput:
        """Run everything after the head on its features (N, C, T, H, W), or on one such tensor a pathway.

        Of videos that differ in shape (:class:`Ragged`), those of the same shape run together.

        Raises:
            ValueError: moments are needed, and there is no :attr:`moment_classifier`.
        """
        last = self.moment_classifier if need_moments else None
        if need_moments and last is None:
            raise ValueError("this network names a video as a whole, not its moments")
        attention: list[Attention | None] = []
        buckets = buckets_of(features)
        *others, final = list(self.segments)[1:]
        stages = [*others, final if last is None else final[:-1]]  # type: ignore[index]  # as above
        for compressor, segment in zip(self.compressors, stages, strict=True):
            compressed = [
                CompressedBucket(bucket.videos, compressor(bucket.features, need_attention=need_attention))
                for bucket in buckets
            ]
            attention.append(join_attention(compressed))
            buckets = [Bucket(bucket.videos, segment(bucket.features)) for bucket in regroup(compressed)]
        if last is None:
            return ModelOutput(join_logits(buckets), tuple(attention))
        named = [(bucket.videos, last.moments(cast(Tensor, bucket.features))) for bucket in buckets]
        logits = join_logits([Bucket(videos, last.join_moments(moments)) for videos, moments in named])
        by_video = {video: own for videos, moments in named for video, own in zip(videos, moments, strict=True)}
        moments = tuple(by_video[video] for video in sorted(by_video))
        return ModelOutput(logits, tuple(attention), moments=moments)


def _layers_of(module: nn.Module) -> list[nn.Module]:
    """What runs one after the other."""
    if type(module) is not nn.Sequential:
        return [module]
    return [layer for child in module for layer in _layers_of(child)]
