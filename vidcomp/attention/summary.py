"""What a compressor looked at: its weights of output frames over input frames, and the numbers made of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention.timeline import frame_intervals

ATTENDED = 1.5
"""Importance from which a frame counts as attended: half as much again as if all frames counted alike."""

NEGLIGIBLE = 0.01
"""Importance below which a frame contributed next to nothing: 1 % of what it would if all frames counted alike."""


# Kinds of compressors whose output frames are groups of input frames.
GROUPING = ("sgs",)


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Compressors' weights (T', T) of output frames over input frames, and when and which the input frames are.

    ``seconds`` (T,) are the input frames' timestamps, ``indices`` (T,) their numbers in the video, ``None`` where
    nobody noted them. ``compressor`` is a kind; of compressors in a row all kinds, joined by "+", and the weights are
    then the product of their maps. ``grouping`` is, in such a row, the map (B', T) of a first one that groups frames.
    """

    compressor: str
    weights: NDArray[np.float32]
    seconds: NDArray[np.float64]
    indices: NDArray[np.int64] | None = None
    grouping: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.seconds.shape != self.weights.shape[1:]:
            raise ValueError(
                f"an attention map (T', T) needs T timestamps: {self.weights.shape} and {self.seconds.shape} do not fit"
            )
        if self.indices is not None and self.indices.shape != self.seconds.shape:
            raise ValueError(f"{len(self.seconds)} input frames need as many numbers, got {self.indices.shape}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AttentionMap):
            return NotImplemented
        return self.compressor == other.compressor and all(
            first is second or (first is not None and second is not None and np.array_equal(first, second))
            for first, second in zip(self._arrays, other._arrays, strict=True)
        )

    def __hash__(self) -> int:
        return hash((self.compressor, self.weights.shape, self.weights.tobytes()))

    @property
    def _arrays(self) -> tuple[NDArray[Any] | None, ...]:
        return self.weights, self.seconds, self.indices, self.grouping

    @property
    def groups(self) -> NDArray[np.float32] | None:
        """The map (B', T) of the compressor that groups the input frames; ``None`` if none does."""
        return self.weights if self.compressor in GROUPING else self.grouping


@dataclass(frozen=True)
class AttendedSegment:
    """A run of attended frames: the time they stand for, their share of the mass, and when the best of them is."""

    start_s: float
    end_s: float
    mass: float
    peak_s: float


@dataclass(frozen=True)
class AttentionSummary:
    """What T input frames of a compressor contributed, with their times in seconds; docs/attention.md defines all.

    ``importance`` is a frame's share of all weights, scaled so that the mean is 1. ``attended`` are the runs of
    consecutive frames with an importance of at least :data:`ATTENDED`, in the order of time; none stand out where all
    count alike. ``effective_frames`` is the exponential of the shares' entropy H: T when all count alike, 1 when one
    frame has everything; ``concentration`` is 1 − H / ln T: 0 and 1 in these two cases. ``negligible_frames`` counts
    the frames with an importance below :data:`NEGLIGIBLE`. ``bins`` are, for a compressor that groups frames (SGS),
    the indices of the input frames in each of its output frames; ``None`` for others.
    """

    compressor: str
    seconds: tuple[float, ...]
    importance: tuple[float, ...]
    attended: tuple[AttendedSegment, ...]
    effective_frames: float
    concentration: float
    negligible_frames: int
    bins: tuple[tuple[int, ...], ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The summary under the keys that scripts read."""
        return {
            "compressor": self.compressor,
            "times_s": list(self.seconds),
            "importance": list(self.importance),
            "attended": [asdict(part) for part in self.attended],
            "effective_frames": self.effective_frames,
            "concentration": self.concentration,
            "negligible_frames": self.negligible_frames,
            "active_bins": None if self.bins is None else len(self.bins),
            "bins": None if self.bins is None else [list(frames) for frames in self.bins],
        }


def importance_of(weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Importance (T,), of mean 1, of the input frames of a map (T', T): their columns' shares of the mass, times T.

    Raises:
        ValueError: the weights are negative, not finite, or all zero.
    """
    mass = weights.sum(axis=0, dtype=np.float64)
    total = float(mass.sum())
    if not (math.isfinite(total) and total > 0 and weights.min() >= 0):
        raise ValueError("attention weights must be finite, not negative and not all zero")
    return np.asarray(mass * (len(mass) / total))


def summarise(attention: AttentionMap, end_s: float | None = None) -> AttentionSummary:
    """Reduce a map (T', T) to what each frame contributed, and to the moments that stand out.

    ``end_s`` is when the video ends, beyond which no segment reaches.

    Raises:
        ValueError: the weights are negative, not finite, or all zero.
    """
    importance = importance_of(attention.weights)
    share = importance / len(importance)
    positive = share[share > 0]
    entropy = max(0.0, float(-(positive * np.log(positive)).sum()))
    groups = attention.groups
    return AttentionSummary(
        attention.compressor,
        tuple(attention.seconds.tolist()),
        tuple(importance.tolist()),
        _attended(importance, attention.seconds, end_s),
        math.exp(entropy),
        max(0.0, 1 - entropy / math.log(len(share))) if len(share) > 1 else 0.0,
        int(np.count_nonzero(importance < NEGLIGIBLE)),
        None if groups is None else _bins(groups),
    )


def _attended(
    importance: NDArray[np.float64], seconds: NDArray[np.float64], end_s: float | None
) -> tuple[AttendedSegment, ...]:
    starts, ends = frame_intervals(seconds, end_s)
    attended = np.flatnonzero(importance >= ATTENDED)
    # A run ends before a frame that is not attended, and before a stretch of the video that was not looked at.
    follows = (np.diff(attended) == 1) & (starts[attended[1:]] <= ends[attended[:-1]])
    runs = np.split(attended, np.flatnonzero(~follows) + 1) if len(attended) else []
    return tuple(
        AttendedSegment(
            float(starts[run[0]]),
            float(ends[run[-1]]),
            float(importance[run].sum() / len(importance)),
            float(seconds[run[importance[run].argmax()]]),
        )
        for run in runs
    )


def _bins(weights: NDArray[np.float32]) -> tuple[tuple[int, ...], ...]:
    """Frames with any weight, of each output frame; one on the edge of its bin has very little."""
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in weights)
