"""Numbers that say which frames a compressor looked at, from its weights of output frames over input frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.prediction import AttentionMap

# Kinds of compressors whose output frames are groups of input frames.
GROUPING = ("sgs",)


@dataclass(frozen=True)
class AttentionSummary:
    """Importance of each input frame of the compressor, with its time.

    ``importance`` is a frame's share of all weights, scaled so that the mean is 1; ``effective_frames`` is the
    exponential of the shares' entropy: T when all count alike, 1 when one frame has everything. ``bins`` are, for a
    compressor that groups frames (SGS), the indices of the input frames in each output frame; ``None`` for others.
    """

    compressor: str
    seconds: tuple[float, ...]
    importance: tuple[float, ...]
    effective_frames: float
    bins: tuple[tuple[int, ...], ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The summary under the keys that scripts read."""
        return {
            "compressor": self.compressor,
            "frames": list(self.seconds),
            "importance": list(self.importance),
            "effective_frames": self.effective_frames,
            "active_bins": None if self.bins is None else len(self.bins),
            "bins": None if self.bins is None else [list(frames) for frames in self.bins],
        }


def summarise(attention: AttentionMap) -> AttentionSummary:
    """Reduce a map (T', T) to one number a frame: the mass of its column.

    Raises:
        ValueError: the weights are negative, not finite, or all zero.
    """
    weights = attention.weights.astype(np.float64)
    mass = weights.sum(axis=0)
    total = float(mass.sum())
    if not (math.isfinite(total) and total > 0 and weights.min() >= 0):
        raise ValueError("attention weights must be finite, not negative and not all zero")
    share = mass / total
    positive = share[share > 0]
    return AttentionSummary(
        attention.compressor,
        tuple(attention.seconds.tolist()),
        tuple((share * len(share)).tolist()),
        float(np.exp(-(positive * np.log(positive)).sum())),
        _bins(weights) if attention.compressor in GROUPING else None,
    )


def _bins(weights: NDArray[np.float64]) -> tuple[tuple[int, ...], ...]:
    """Frames with any weight, of each output frame; one on the edge of its bin has very little."""
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in weights)
