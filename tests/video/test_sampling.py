from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcomp.video import Selection, View, dense_views, needed, rows_of, uniform_clips, whole
from vidcomp.video.sampling import count_samples

number = st.integers(1, 40)


def test_whole_video_at_a_stride() -> None:
    assert [index for index in range(10) if index in whole(3)] == [0, 3, 6, 9]
    assert whole(3).last is None


def test_dense_views_by_hand() -> None:
    # A clip of 4 frames, 2 apart, spans 7 of the 17 frames: starts spread over 0…10.
    views = dense_views(17, clip_frames=4, stride=2, clips=3, crops=2)
    assert [(view.frame_indices, view.crop) for view in views] == [
        ((0, 2, 4, 6), 0.0),
        ((0, 2, 4, 6), 1.0),
        ((5, 7, 9, 11), 0.0),
        ((5, 7, 9, 11), 1.0),
        ((10, 12, 14, 16), 0.0),
        ((10, 12, 14, 16), 1.0),
    ]


def test_dense_views_are_thirty_by_default() -> None:
    views = dense_views(300, clip_frames=8, stride=8)
    assert len(views) == 30
    assert [view.crop for view in views[:3]] == [0.0, 0.5, 1.0]
    assert views[0].frame_indices[0] == 0
    assert views[-1].frame_indices[-1] == 299


def test_one_clip_and_one_crop_are_central() -> None:
    (view,) = dense_views(11, clip_frames=3, stride=2, clips=1, crops=1)
    assert view == View((3, 5, 7), 0.5)


def test_a_short_video_repeats_its_last_frame_and_says_so() -> None:
    (view,) = dense_views(4, clip_frames=4, stride=2, clips=1, crops=1)
    assert view == View((0, 2, 3, 3), 0.5, repeated=2)
    assert dense_views(1, 4, 2, clips=1, crops=1)[0] == View((0, 0, 0, 0), 0.5, repeated=3)


def test_uniform_clips_by_hand() -> None:
    # Parts 0–9, 10–19, 20–29; a clip of 4 frames lies in the middle of each.
    assert [view.frame_indices for view in uniform_clips(30, 3, 4)] == [
        (3, 4, 5, 6),
        (13, 14, 15, 16),
        (23, 24, 25, 26),
    ]
    # A clip of 5 frames, 2 apart, spans 9 of 12: more than its part, but inside the video.
    assert [view.frame_indices[0] for view in uniform_clips(12, 2, 5, stride=2)] == [0, 3]


@given(n=st.integers(1, 500), frames=number, stride=number, clips=number, crops=number)
def test_dense_views_stay_within_the_video(n: int, frames: int, stride: int, clips: int, crops: int) -> None:
    views = dense_views(n, frames, stride, clips, crops)
    assert len(views) == clips * crops
    _check(views, n, frames, stride)


@given(n=st.integers(1, 500), frames=number, stride=number, clips=number)
def test_uniform_clips_stay_within_the_video(n: int, frames: int, stride: int, clips: int) -> None:
    views = uniform_clips(n, clips, frames, stride)
    assert len(views) == clips
    assert [view.frame_indices for view in views] == sorted(view.frame_indices for view in views)
    _check(views, n, frames, stride)


def _check(views: tuple[View, ...], n: int, frames: int, stride: int) -> None:
    for view in views:
        assert len(view.frame_indices) == frames
        assert 0 <= view.frame_indices[0] <= view.frame_indices[-1] < n
        # Nothing is repeated in a video that is long enough.
        assert not view.repeated or n < (frames - 1) * stride + 1
        own = view.frame_indices[: frames - view.repeated]
        assert set(np.diff(own)) <= {stride}


def test_needed_is_the_union() -> None:
    views = (View((4, 6, 8)), View((0, 4, 8, 8), repeated=1))
    assert needed(views) == Selection(indices=(0, 4, 6, 8))
    assert needed(views).last == 8


def test_rows_of_a_view() -> None:
    kept = np.array([0, 2, 4, 6, 8], np.int64)
    rows, repeated = rows_of(View((2, 4, 8)), kept)
    assert (rows.tolist(), repeated) == ([1, 2, 4], 0)


def test_frames_that_never_arrived_are_replaced_by_the_last_before_them() -> None:
    kept = np.array([0, 2, 4], np.int64)
    assert [*map(list, [rows_of(View((2, 4, 6, 8)), kept)[0]])] == [[1, 2, 2, 2]]
    assert rows_of(View((2, 4, 6, 8)), kept)[1] == 2
    # Its own repetition is not counted again.
    assert rows_of(View((4, 6, 6, 6), repeated=2), kept)[1] == 3
    # All of a clip lies beyond what arrived: it is the last frame throughout.
    rows, repeated = rows_of(View((10, 12)), kept)
    assert (rows.tolist(), repeated) == ([2, 2], 2)


def test_rows_of_nothing() -> None:
    with pytest.raises(ValueError, match="no frame"):
        rows_of(View((0,)), np.array([], np.int64))


@pytest.mark.parametrize("indices", [(), (3, 2), (1, 1), (-1, 2)])
def test_a_selection_is_ascending(indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="indices"):
        Selection(indices=indices)


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="stride must be at least 1"):
        whole(0)
    with pytest.raises(ValueError, match="not both"):
        Selection(2, (1, 2))
    with pytest.raises(ValueError, match="n_frames must be at least 1"):
        dense_views(0, 8, 8)
    with pytest.raises(ValueError, match="not a view"):
        View((1,), crop=1.5)


def sampled(seconds: list[float], selection: Selection, step_s: float) -> list[tuple[int, float]]:
    frames = ((number, second, None) for number, second in enumerate(seconds))
    return [(index, round(second, 6)) for index, second, _ in selection.choose(frames, step_s)]


def test_sampling_by_frames_per_second_by_hand() -> None:
    slow = sampled([0, 0.2, 0.4], whole(fps=25), 0.2)
    # Until half way to the next frame the one before is the nearest; the last one stands until it ends.
    assert [index for index, _ in slow] == [0] * 3 + [1] * 5 + [2] * 7
    assert [second for _, second in slow] == [round(0.04 * sample, 6) for sample in range(15)]
    fast = sampled([number / 240 for number in range(240)], whole(fps=25), 1 / 240)
    # 9.6 frames a sample.
    assert [index for index, _ in fast] == [round(9.6 * sample) for sample in range(25)]


@pytest.mark.parametrize("jitter", [0, 0.01])
def test_a_video_of_that_rate_gives_each_frame_once(jitter: float) -> None:
    times = [max(0.0, 0.04 * number + jitter * (number % 3 - 1)) for number in range(200)]
    assert [index for index, _ in sampled(times, whole(fps=25), 0.04)] == list(range(200))


def test_of_two_frames_as_near_the_earlier_is_taken() -> None:
    assert [index for index, _ in sampled([0, 0.08, 0.16], whole(fps=25), 0.08)] == [0, 0, 1, 1, 2, 2]


def test_a_variable_rate_is_evened_out() -> None:
    assert sampled([0, 0.01, 0.02, 0.5, 0.51], whole(fps=10), 0.05) == [
        (0, 0.0),
        (2, 0.1),
        (2, 0.2),
        (3, 0.3),
        (3, 0.4),
        (3, 0.5),
    ]


@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=60),
    fps=st.sampled_from([5.0, 12.5, 25.0, 29.97]),
    stride=st.integers(1, 4),
)
def test_a_sample_is_the_frame_nearest_in_time(gaps: list[int], fps: float, stride: int) -> None:
    times = [0.0, *np.cumsum(gaps).tolist()]
    seconds = [time / 1000 for time in times]
    end = seconds[-1] + 0.04
    chosen = sampled(seconds, whole(stride, fps), 0.04)
    assert len(chosen) == len(range(0, int(np.ceil(end * fps - 1e-6 * fps)), stride))
    for place, (index, second) in enumerate(chosen):
        assert second == pytest.approx(place * stride / fps, abs=1e-6)
        assert abs(seconds[index] - second) <= min(abs(time - second) for time in seconds) + 3e-6


def test_samples_that_are_chosen_stop_the_reading() -> None:
    drawn = []

    def frames() -> Iterator[tuple[int, float, None]]:
        for number in range(100):
            drawn.append(number)
            yield number, number / 50, None

    selection = Selection(indices=(2, 3, 7), fps=25)
    assert [index for index, _, _ in selection.choose(frames(), 0.02)] == [4, 6, 14]
    assert max(drawn) == 15
    assert selection.number(14, 0.28) == selection.last


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_a_positive_number(fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        whole(fps=fps)


def test_how_many_samples_a_video_gives() -> None:
    assert count_samples(300, 30, None) == 300
    assert count_samples(300, 30, 25) == 250
    assert count_samples(3, 5, 25) == 15
    assert count_samples(1, 240, 25) == 1
