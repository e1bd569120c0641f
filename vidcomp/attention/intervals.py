"""The stretch of time that each sampled frame stands for."""

from __future__ import annotations

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
