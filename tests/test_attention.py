"""Attention in numbers: the stretch of time a frame stands for, timelines, and the moments that stand out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vidcomp.attention import ATTENDED, AttendedSegment, AttentionMap, frame_intervals, summarize, timeline


def attention(rows: list[list[float]]) -> AttentionMap:
    weights = np.array(rows, np.float32)
    return AttentionMap("sfc", weights, np.arange(weights.shape[1], dtype=np.float64))


def test_summary_by_hand() -> None:
    """Columns weigh 1, 0.5, 0.5 and 0 of 2: shares ½, ¼, ¼, 0; entropy 1.5 bits of 2, so 2^1.5 frames."""
    summary = summarize(attention([[1, 0, 0, 0], [0, 0.5, 0.5, 0]]))
    assert summary.importance == pytest.approx((2, 1, 1, 0))
    assert summary.effective_frames == pytest.approx(2**1.5)
    assert summary.concentration == pytest.approx(0.25)
    assert summary.negligible_frames == 1
    assert summary.attended == (AttendedSegment(0, 0.5, 0.5, 0),)
    assert summary.as_dict()["times_s"] == [0, 1, 2, 3]
    assert summary.as_dict()["attended"] == [{"start_s": 0, "end_s": 0.5, "mass": 0.5, "peak_s": 0}]


def test_segments_are_runs_of_attended_frames_and_do_not_outlast_the_video() -> None:
    """Eight frames, shares in sixteenths: 3+5, then 1, 0, 0, then 3+4, then nothing; ATTENDED is 3 sixteenths."""
    assert ATTENDED == 1.5
    columns = np.array([[3, 5, 1, 0, 0, 0, 3, 4]], np.float32)
    times = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
    summary = summarize(AttentionMap("sfc", columns, times), end_s=3.6)
    assert summary.attended == (AttendedSegment(0, 0.75, 0.5, 0.5), AttendedSegment(2.75, 3.6, 7 / 16, 3.5))


def test_a_segment_does_not_reach_over_what_was_not_looked_at() -> None:
    times = np.array([0, 1, 2, 100, 101, 102], np.float64)
    summary = summarize(AttentionMap("sfc", np.array([[0, 0, 3, 3, 0, 0]], np.float32), times))
    assert summary.attended == (AttendedSegment(1.5, 2.5, 0.5, 2), AttendedSegment(99.5, 100.5, 0.5, 100))


def test_even_attention_uses_every_frame_and_no_moment_stands_out() -> None:
    summary = summarize(attention([[0.2] * 5] * 2))
    assert summary.effective_frames == pytest.approx(5)
    assert summary.concentration == pytest.approx(0)
    assert np.mean(summary.importance) == pytest.approx(1)
    assert (summary.attended, summary.negligible_frames) == ((), 0)


def test_a_single_frame_has_everything_and_stands_out_from_nothing() -> None:
    summary = summarize(attention([[1.0], [1.0]]), end_s=2.0)
    assert (summary.importance, summary.effective_frames, summary.concentration) == ((1.0,), 1.0, 0.0)
    assert summary.attended == ()


def test_one_frame_of_many_has_everything() -> None:
    summary = summarize(attention([[0, 0, 1, 0]] * 3))
    assert (summary.effective_frames, summary.concentration) == pytest.approx((1, 1))
    assert summary.negligible_frames == 3
    assert summary.attended == (AttendedSegment(1.5, 2.5, 1.0, 2.0),)


@given(
    arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.floats(0, 1, width=32)
    )
)
def test_mass_is_conserved(weights: np.ndarray) -> None:
    weights = weights + np.float32(1e-3)
    summary = summarize(attention(weights.tolist()))
    frames = weights.shape[1]
    assert sum(summary.importance) == pytest.approx(frames)
    attended = [value for value in summary.importance if value >= ATTENDED]
    assert sum(part.mass for part in summary.attended) == pytest.approx(sum(attended) / frames)
    assert all(part.start_s <= part.peak_s <= part.end_s for part in summary.attended)
    assert 1 - 1e-6 <= summary.effective_frames <= frames + 1e-6
    assert -1e-9 <= summary.concentration <= 1 + 1e-9


def test_the_order_of_output_frames_does_not_matter() -> None:
    """SGS gives its bins in the order of similarity, not of time."""
    rows = np.random.default_rng(0).random((6, 9)).tolist()
    forward, backward = summarize(attention(rows)), summarize(attention(rows[::-1]))
    assert forward.importance == pytest.approx(backward.importance)
    assert forward.attended == backward.attended


def test_an_hour_of_frames() -> None:
    weights = np.full((4, 27_000), 1e-6, np.float32)
    weights[:, 9_000:9_010] = 1
    times = np.arange(27_000) * (4 / 30)
    summary = summarize(AttentionMap("sfc", weights, times))
    (segment,) = summary.attended
    assert (segment.start_s, segment.end_s) == pytest.approx((9_000 * 4 / 30 - 2 / 30, 9_009 * 4 / 30 + 2 / 30))
    assert math.isclose(segment.mass, 10 / (10 + 26_990e-6), rel_tol=1e-5)


@pytest.mark.parametrize("row", [[0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, not negative"):
        summarize(attention([row]))


def test_a_map_needs_a_time_and_a_number_for_each_frame() -> None:
    with pytest.raises(ValueError, match="needs T timestamps"):
        AttentionMap("sfc", np.ones((2, 3), np.float32), np.zeros(2))
    with pytest.raises(ValueError, match="as many numbers"):
        AttentionMap("sfc", np.ones((2, 3), np.float32), np.zeros(3), np.zeros(2, np.int64))


def test_a_compressor_that_groups_frames_names_them() -> None:
    weights = np.array([[0.5, 0, 1e-6], [0, 1, 0]], np.float32)
    seconds = np.arange(3, dtype=np.float64)
    answer = summarize(AttentionMap("sgs", weights, seconds)).as_dict()
    assert (answer["active_bins"], answer["bins"]) == (2, [[0, 2], [1]])
    answer = summarize(AttentionMap("sfc", weights, seconds)).as_dict()
    assert (answer["active_bins"], answer["bins"]) == (None, None)
    answer = summarize(AttentionMap("sgs+sfc", weights[:1], seconds, grouping=weights)).as_dict()
    assert (answer["active_bins"], answer["bins"]) == (2, [[0, 2], [1]])


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
def test_intervals_by_hand(seconds: list[float], end_s: float | None, expected: list[tuple[float, float]]) -> None:
    assert intervals(seconds, end_s) == expected


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_each_holds_its_frame_and_none_overlap(steps: list[int]) -> None:
    seconds = (np.cumsum(steps) / 25).tolist()
    found = intervals(seconds)
    assert all(start <= time <= end for time, (start, end) in zip(seconds, found, strict=True))
    assert all(before[1] <= after[0] for before, after in pairwise(found))


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
def test_timeline_by_hand(
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
