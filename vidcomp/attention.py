"""What a compressor looked at: its weights of output frames over input frames, and the numbers made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ATTENDED = 1.5
"""Importance from which a frame counts as attended: half as much again as if all frames counted alike."""

ABOUT_MEAN = 0.5
"""Importance from which a frame counts about as much as the others."""

NEGLIGIBLE = 0.01
"""Importance below which a frame contributed next to nothing: 1% of what it would if all frames counted alike."""


# A gap between neighbors of more than so many usual gaps was not looked at: clips spread over a long video.
_GAP = 4.0

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


def summarize(attention: AttentionMap, end_s: float | None = None) -> AttentionSummary:
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


def frame_intervals(
    seconds: NDArray[np.float64], end_s: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end (T,), in seconds, of the time that frames at ``seconds`` (T,), ascending, stand for.

    Each reaches half-way to its neighbors; the first begins with its own time, and the last ends with the video
    (``end_s``), a usual (median) gap after itself at most, or half of that where the video's end is not known. Where
    neighbors are more than four usual gaps apart, as between clips spread over a video, each reaches half a usual gap
    only: nothing was seen in between.
    Frames of equal time, as where the last one was repeated to fill a clip, share one interval.
    """
    times, place = np.unique(seconds, return_inverse=True)
    gaps = np.diff(times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    unseen = gaps > _GAP * usual
    reach = np.where(unseen, usual, gaps) / 2
    before = times[:-1] + reach
    # Neighbors share a boundary to the last bit, so that a run of frames can be told by it.
    after = np.where(unseen, times[1:] - reach, before)
    last = times[-1] + usual / 2
    if end_s is not None:
        last = max(end_s, times[-1])
        if len(gaps):
            last = min(last, times[-1] + usual)
    return np.concatenate([times[:1], after])[place], np.append(before, last)[place]


def timeline(
    seconds: Sequence[float], importance: Sequence[float], cells: int, end_s: float | None = None
) -> NDArray[np.float64]:
    """Importance (cells,) in equal steps from 0 to the end of the video.

    A step has the mean importance of the frames that stand for its time, weighted by that time; 0 where no frame does.
    Frames of equal time, as where the last one was repeated, add up. The end is ``end_s``, or that of the last
    frame at ``seconds`` (T,), ascending, where this is later.

    Raises:
        ValueError: there is no frame or no step.
    """
    if not len(seconds) or cells < 1:
        raise ValueError("a timeline needs at least one frame and one step")
    starts, ends = frame_intervals(np.asarray(seconds, np.float64), end_s)
    end = max(end_s or 0.0, float(ends[-1]))
    if ends[-1] <= starts[0]:
        return np.ones(cells)  # no time passes: a single frame of a video of unknown length
    edges = np.unique(np.concatenate([starts, ends]))
    place = np.searchsorted(edges, starts)
    level = np.zeros(len(edges) - 1)
    np.add.at(level, place, np.asarray(importance, np.float64))
    seen = np.zeros(len(edges) - 1)
    seen[place] = 1.0
    steps = np.linspace(0.0, end, cells + 1)
    covered = np.diff(np.interp(steps, edges, _integral(seen, edges)))
    found = np.diff(np.interp(steps, edges, _integral(level, edges)))
    return np.divide(found, covered, out=np.zeros(cells), where=covered > 1e-9 * end)


def bar_heights(importance: NDArray[np.float64]) -> NDArray[np.float64]:
    """How high a timeline draws its steps (cells,), from 0 to 1; even attention is a line at half height."""
    return importance / max(2.0, float(importance.max()))


def _integral(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a step function with ``values`` between ``edges`` has added up to at each edge."""
    return np.concatenate([[0.0], np.cumsum(values * np.diff(edges))])
