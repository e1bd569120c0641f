from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcomp.video import Selection, View, dense_views, needed, rows_of, uniform_clips, whole

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
