"""The contract every compressor keeps: features in, fewer features in time out, and which frames made which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Compressed:
    """What a compressor made of a batch of N videos.

    ``features`` has shape (N, C, T', H, W). ``attention`` has shape (N, T', T): for every output frame, its weights
    over the input frames; ``None`` where output frame t simply is input frame t, or where nobody asked for it.
    """

    features: Tensor
    attention: Tensor | None = None


class Compressor(nn.Module, ABC):
    """Drops in time what is redundant, between two stages of a backbone.

    ``kind`` is its name in manifests and results. Compressors are interchangeable and may be chained.
    """

    kind: str

    @abstractmethod
    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress features (N, C, T, H, W) to (N, C, T', H, W) with 1 ≤ T' ≤ T.

        With ``need_attention`` the result carries the weights; without, a compressor may skip making them.
        """
