"""A backbone cut in two or more, with a compressor at each cut: head → compressor → … → tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidcomp.nn.backbones.base import Backbone
from vidcomp.nn.compressors.base import Compressor


@dataclass(frozen=True)
class Insertion:
    """A compressor and the stage (``cut``) after which it stands."""

    cut: str
    compressor: Compressor


@dataclass(frozen=True)
class ModelOutput:
    """Logits (N, classes), and one attention map (N, T', T) or ``None`` for each compressor, in the network's order."""

    logits: Tensor
    attention: tuple[Tensor | None, ...]


class CompressedModel(nn.Module):
    """A backbone with one or more compressors inserted (the identity, where nothing is to be compressed).

    The head is what stands before the first compressor, the tail what stands after the last.
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
    def head(self) -> nn.Module:
        """The segment that every frame passes."""
        return self.segments[0]

    def forward(self, clip: Tensor, *, need_attention: bool = False) -> ModelOutput:
        """Run normalised clips (N, 3, T, H, W) from the first frame to the logits."""
        return self.finish(self.head(clip), need_attention=need_attention)

    def encode(self, chunks: Iterable[Tensor]) -> Tensor:
        """Run the head over consecutive chunks (N, 3, t, H, W) of one video and join the features in time.

        The result equals one pass over all frames for heads without temporal kernels; memory is bounded by a chunk
        and the features.
        """
        return torch.cat([self.head(chunk) for chunk in chunks], dim=2)

    def finish(self, features: Tensor, *, need_attention: bool = False) -> ModelOutput:
        """Run everything after the head on its features (N, C, T, H, W)."""
        attention: list[Tensor | None] = []
        for compressor, segment in zip(self.compressors, list(self.segments)[1:], strict=True):
            compressed = compressor(features, need_attention=need_attention)
            attention.append(compressed.attention)
            features = segment(compressed.features)
        return ModelOutput(features, tuple(attention))
