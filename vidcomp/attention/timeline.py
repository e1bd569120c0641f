"""Attention over a video's time in equal steps, as timelines show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention.intervals import frame_intervals


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


def _integral(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a step function with ``values`` between ``edges`` has added up to at each edge."""
    return np.concatenate([[0.0], np.cumsum(values * np.diff(edges))])
