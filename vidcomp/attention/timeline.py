"""Attention over a video's time: the stretch that each frame stands for, and equal steps, as timelines show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A gap between neighbours of more than so many usual gaps was not looked at: clips spread over a long video.
_GAP = 4.0


def frame_intervals(
    seconds: NDArray[np.float64], end_s: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end (T,), in seconds, of the time that frames at ``seconds`` (T,), ascending, stand for.

    Each reaches half-way to its neighbours; the first begins with its own time, and the last ends with the video
    (``end_s``), a usual (median) gap after itself at most, or half of that where the video's end is not known. Where
    neighbours are more than four usual gaps apart, as between clips spread over a video, each reaches half a usual gap
    only: nothing was seen in between.
    Frames of equal time, as where the last one was repeated to fill a clip, share one interval.
    """
    times, place = np.unique(seconds, return_inverse=True)
    gaps = np.diff(times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    unseen = gaps > _GAP * usual
    reach = np.where(unseen, usual, gaps) / 2
    before = times[:-1] + reach
    # Neighbours share a boundary to the last bit, so that a run of frames can be told by it.
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


def _integral(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a step function with ``values`` between ``edges`` has added up to at each edge."""
    return np.concatenate([[0.0], np.cumsum(values * np.diff(edges))])
