"""The time that sampled frames stand for, worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcomp.attention import frame_intervals


def intervals(seconds: list[float], end_s: float | None = None) -> list[tuple[float, float]]:
    starts, ends = frame_intervals(np.array(seconds, np.float64), end_s)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


@pytest.mark.parametrize(
    ("seconds", "end_s", "expected"),
    [
        ([0, 1, 2], None, [(0, 0.5), (0.5, 1.5), (1.5, 2.5)]),
        ([0, 1, 2], 3, [(0, 0.5), (0.5, 1.5), (1.5, 3)]),
        ([0, 1, 2], 9, [(0, 0.5), (0.5, 1.5), (1.5, 3)]),
        ([0, 1, 2], 2.25, [(0, 0.5), (0.5, 1.5), (1.5, 2.25)]),  # never beyond the video
        ([0, 1, 4, 5], None, [(0, 0.5), (0.5, 2.5), (2.5, 4.5), (4.5, 5.5)]),  # frames that are far apart
        ([0, 1, 2, 20, 21], None, [(0, 0.5), (0.5, 1.5), (1.5, 2.5), (19.5, 20.5), (20.5, 21.5)]),  # two clips
        ([0, 1, 1, 1], None, [(0, 0.5), (0.5, 1.5), (0.5, 1.5), (0.5, 1.5)]),  # a repeated last frame
        ([0], 3, [(0, 3)]),
        ([0], None, [(0, 0)]),
    ],
)
def test_by_hand(seconds: list[float], end_s: float | None, expected: list[tuple[float, float]]) -> None:
    assert intervals(seconds, end_s) == expected


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_each_holds_its_frame_and_none_overlap(steps: list[int]) -> None:
    seconds = (np.cumsum(steps) / 25).tolist()
    found = intervals(seconds)
    assert all(start <= time <= end for time, (start, end) in zip(seconds, found, strict=True))
    assert all(before[1] <= after[0] for before, after in pairwise(found))
