"""Windows of a video: where they begin and end, and that each sees its own frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vidcomp.inference.windows import Windows, _windows
from vidcomp.video import Frames, VideoInfo

INFO = VideoInfo("a", 2, 2, 0, 10.0, None, None, "h264", "mp4", 1)


def chunks(times: list[float], at_once: int = 3) -> Iterator[Frames]:
    for start in range(0, len(times), at_once):
        part = times[start : start + at_once]
        pixels = np.zeros((len(part), 2, 2, 3), np.uint8)
        pixels[:] = np.arange(start, start + len(part), dtype=np.uint8)[:, None, None, None]
        indices = np.arange(start, start + len(part), dtype=np.int64)
        yield Frames(pixels, np.array(part, np.float64), indices, INFO)


def cut(times: list[float], every_s: float, window_s: float) -> list[tuple[float, float, list[int]]]:
    return [
        (window.start_s, window.end_s, window.pixels[:, 0, 0, 0].tolist())
        for window in _windows(chunks(times), every_s, window_s)
    ]


def test_consecutive_windows_hold_every_frame_once() -> None:
    times = [i / 10 for i in range(25)]
    assert cut(times, 1, 1) == [
        (0, 1, list(range(10))),
        (1, 2, list(range(10, 20))),
        (2, 2.5, list(range(20, 25))),
    ]


def test_overlapping_windows_share_frames() -> None:
    times = [i / 10 for i in range(20)]
    assert cut(times, 0.5, 1) == [
        (0, 1, list(range(10))),
        (0.5, 1.5, list(range(5, 15))),
        (1, 2, list(range(10, 20))),
    ]


def test_a_video_shorter_than_a_window_is_one() -> None:
    assert cut([0, 0.1], 10, 12) == [(0, 0.2, [0, 1])]


def test_a_gap_in_the_video_has_no_windows() -> None:
    assert cut([0, 0.5, 7.2, 7.3], 1, 1) == [(0, 1, [0, 1]), (7, 7.4, [2, 3])]


@pytest.mark.parametrize("every_s", [0.1, 0.3, 0.7])
def test_rounding_loses_no_frame(every_s: float) -> None:
    windows = cut([i / 10 for i in range(200)], every_s, every_s)
    assert sorted(frame for _, _, frames in windows for frame in frames) == list(range(200))


@pytest.mark.parametrize(("every_s", "window_s"), [(0, 1), (2, 1), (1, 1000)])
def test_windows_that_make_no_sense(every_s: float, window_s: float) -> None:
    with pytest.raises(ValueError, match="window"):
        Windows(every_s, window_s)


def test_names() -> None:
    assert (Windows(10, 10).name, Windows(10, 12.5).name) == ("every10s", "every10s-window12.5s")
