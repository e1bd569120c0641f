"""Windows of a video: where they begin and end, and that each sees its own frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcomp.inference.windows import Windows, cut_windows
from vidcomp.video import Frames, VideoInfo

INFO = VideoInfo("a", 2, 2, 0, 10.0, None, None, "h264", "mp4", 1)


def chunks(times: list[float], at_once: int = 3) -> Iterator[Frames]:
    for start in range(0, len(times), at_once):
        part = times[start : start + at_once]
        pixels = np.zeros((len(part), 2, 2, 3), np.uint8)
        pixels[:] = np.arange(start, start + len(part), dtype=np.uint8)[:, None, None, None]
        indices = np.arange(start, start + len(part), dtype=np.int64)
        yield Frames(pixels, np.array(part, np.float64), indices, INFO)


def cut(
    times: list[float], every_s: float, window_s: float, step_s: float = 0.1
) -> list[tuple[float, float, list[int]]]:
    return [
        (window.start_s, window.end_s, window.pixels()[:, 0, 0, 0].tolist())
        for window in cut_windows(chunks(times), every_s, window_s, step_s)
    ]


def test_consecutive_windows_hold_every_frame_once() -> None:
    times = [i / 10 for i in range(25)]
    assert cut(times, 1, 1) == [
        (0, 1, list(range(10))),
        (1, 2, list(range(10, 20))),
        (2, 3, list(range(20, 25))),
    ]


def test_overlapping_windows_share_frames() -> None:
    times = [i / 10 for i in range(20)]
    assert cut(times, 0.5, 1) == [
        (0, 1, list(range(10))),
        (0.5, 1.5, list(range(5, 15))),
        (1, 2, list(range(10, 20))),
        (1.5, 2.5, list(range(15, 20))),
    ]


def test_a_video_shorter_than_a_window_is_one() -> None:
    assert cut([0, 0.1], 10, 12) == [(0, 12, [0, 1])]


def test_a_gap_in_the_video_has_no_windows() -> None:
    assert cut([0, 0.5, 7.2, 7.3], 1, 1) == [(0, 1, [0, 1]), (7, 8, [2, 3])]


def test_what_follows_a_gap_is_in_each_window_that_covers_it() -> None:
    assert cut([0, 0.1, 20.5, 20.6], 10, 12) == [(0, 12, [0, 1]), (10, 22, [2, 3]), (20, 32, [2, 3])]


def test_a_window_without_a_frame_of_its_own_has_the_one_shown() -> None:
    windows = cut([0, 0.1, 0.2], 0.04, 0.04)
    assert [start for start, _, _ in windows] == [k * 0.04 for k in range(8)]
    assert [frames for *_, frames in windows] == [[0], [0], [1], [1], [1], [2], [2], [2]]


def test_in_a_gap_the_last_frame_is_shown_for_a_step() -> None:
    windows = cut([0, 1, 2.9, 7], 0.5, 0.5, step_s=1)
    assert [start for start, _, _ in windows] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 7, 7.5]
    assert [frames for *_, frames in windows] == [[0], [0], [1], [1], [1], [2], [2], [2], [3], [3]]


def test_a_gap_of_thirty_years_takes_no_time() -> None:
    assert [window[2] for window in cut([0, 1e9], 0.1, 0.1)] == [[0], [1]]


def test_windows_are_multiples_of_their_distance_whenever_the_video_starts() -> None:
    assert cut([5 + i / 10 for i in range(15)], 1, 1) == [(5, 6, list(range(10))), (6, 7, list(range(10, 15)))]
    assert cut([5.2, 5.3], 10, 12) == [(5.2, 12, [0, 1])]
    assert cut([-0.5, 0.5], 1, 1) == [(-0.5, 0, [0]), (0, 1, [1])]


TICK = 1000  # microseconds
TIMES = st.builds(
    lambda start, gaps: [start + sum(gaps[:i]) for i in range(len(gaps) + 1)],
    st.integers(-5000, 20_000),
    st.lists(st.integers(0, 60) | st.integers(0, 3_000) | st.just(10**12), max_size=20),
)


@given(TIMES, st.integers(1, 2_000), st.integers(0, 2_000), st.integers(1, 300), st.integers(1, 5))
def test_every_frame_is_in_exactly_the_windows_that_cover_it(
    ticks: list[int], every: int, longer: int, step: int, at_once: int
) -> None:
    """Starts early and late, gaps, equal times, variable rates; windows shorter and longer than frames."""
    window = every + min(longer, 20 * every)
    expected: dict[int, list[int]] = {}
    lowest = min(0, ticks[0] // every)
    for frame, tick in enumerate(ticks):
        for number in range(max(lowest, (tick - window) // every), tick // every + 1):
            if number * every <= tick < number * every + window:
                expected.setdefault(number, []).append(frame)
    for frame, (tick, following) in enumerate(zip(ticks, [*ticks[1:], float("inf")], strict=True)):
        shown = following if following - tick <= 2 * step else tick + step
        for number in range(tick // every + 1, int(shown) // every + 1):
            if number * every < shown and number not in expected:
                expected[number] = [frame]
    windows = cut_windows(chunks([tick * TICK / 1e6 for tick in ticks], at_once), every / 1e3, window / 1e3, step / 1e3)
    assert [(found.start_s, found.end_s, found.pixels()[:, 0, 0, 0].tolist()) for found in windows] == [
        (max(ticks[0], number * every) * TICK / 1e6, (number * every + window) * TICK / 1e6, frames)
        for number, frames in sorted(expected.items())
    ]


@pytest.mark.parametrize("every_s", [0.1, 0.3, 0.7])
def test_rounding_loses_no_frame(every_s: float) -> None:
    windows = cut([i / 10 for i in range(200)], every_s, every_s, step_s=1e-6)
    assert sorted(frame for _, _, frames in windows for frame in frames) == list(range(200))


@pytest.mark.parametrize(
    ("every_s", "window_s"), [(0, 1), (2, 1), (1, 1000), (1e-4, 1), (float("nan"), 1), (1, float("inf"))]
)
def test_windows_that_make_no_sense(every_s: float, window_s: float) -> None:
    with pytest.raises(ValueError, match="window"):
        Windows(every_s, window_s)


def test_names() -> None:
    assert (Windows(10, 10).name, Windows(10, 12.5).name) == ("every10s", "every10s-window12.5s")
