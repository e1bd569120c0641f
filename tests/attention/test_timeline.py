"""Timelines worked by hand: even attention is even, and time that was not looked at stays empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcomp.attention import timeline


@pytest.mark.parametrize(
    ("seconds", "importance", "cells", "duration_s", "expected"),
    [
        ([0, 1, 2, 3], [1, 1, 1, 1], 7, 3.5, [1] * 7),
        ([0, 1], [0, 2], 3, 1.5, [0, 2, 2]),
        ([0, 1], [0, 2], 1, 1.5, [4 / 3]),
        ([0, 1], [2, 0], 2, None, [4 / 3, 0]),  # from 0 to 0.5 and from 0.5 to 1.5
        ([0, 1, 1], [0, 1.5, 1.5], 3, 1.5, [0, 3, 3]),  # a repeated last frame counts twice
        ([0, 1, 2, 20, 21, 22], [1] * 6, 2, 22.5, [1, 1]),  # two clips of a long video
        ([0], [1], 4, None, [1, 1, 1, 1]),
        ([0], [1], 2, 3.0, [1, 1]),
    ],
)
def test_by_hand(
    seconds: list[float], importance: list[float], cells: int, duration_s: float | None, expected: list[float]
) -> None:
    assert timeline(seconds, importance, cells, duration_s).tolist() == pytest.approx(expected)


def test_time_between_clips_is_empty() -> None:
    values = timeline([0, 1, 2, 20, 21, 22], [1] * 6, 45, 22.5)
    assert values[:5].min() > 0
    assert values[5:39].max() == 0
    assert values[39:].min() > 0


@given(st.lists(st.floats(0, 9), min_size=2, max_size=40))
def test_steps_as_long_as_frames_show_each_frame(importance: list[float]) -> None:
    """Frames stand for half-way to half-way, so two steps a frame."""
    count = len(importance)
    values = timeline([float(i) for i in range(count)], importance, 2 * count - 1, count - 0.5)
    shown = [importance[0]] + [value for value in importance[1:] for _ in range(2)]
    assert values.tolist() == pytest.approx(shown, abs=1e-9)


def test_nothing_has_no_timeline() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        timeline([], [], 3)
    with pytest.raises(ValueError, match="one step"):
        timeline([0.0], [1.0], 0)
