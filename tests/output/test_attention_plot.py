"""The picture of a map: which frames it shows, and what of them is framed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from vidcomp.attention import AttentionMap
from vidcomp.output import attention_plot, plots
from vidcomp.output.attention_plot import bin_frames, draw, frames_needed, strip_frames

YELLOW = np.array([0xF5, 0xC4, 0x00]) / 255


def map_of(weights: NDArray[np.float32], compressor: str = "sfc") -> AttentionMap:
    frames = weights.shape[1]
    return AttentionMap(compressor, weights, np.arange(frames) * 2.0, np.arange(frames) * 4)


def pixels(png: bytes) -> NDArray[np.float64]:
    from matplotlib import image

    return np.asarray(image.imread(io.BytesIO(png), format="png"))[:, :, :3]


def yellow_above_the_map(png: bytes) -> int:
    """Yellow pixels where the film strip is: in the picture's upper part, before the map begins."""
    picture = pixels(png)
    return int((np.abs(picture[: picture.shape[0] // 4] - YELLOW).max(axis=2) < 0.02).sum())


def test_what_fills_a_short_clip_is_no_frame_of_the_video() -> None:
    weights = np.array([[0.5, 0.25, 0.125, 0.125], [0, 0.25, 0.25, 0.5]], np.float32)
    filled = AttentionMap("sfc", weights, np.array([0.0, 0.2, 0.2, 0.2]), np.array([0, 4, 4, 4]))
    own = attention_plot.without_filling(filled)
    assert own.weights.tolist() == [[0.5, 0.5], [0, 1]]
    assert own.seconds.tolist() == [0, 0.2]
    assert own.indices is not None
    assert own.indices.tolist() == [0, 4]
    assert attention_plot.without_filling(own) == own


def test_the_strip_shows_the_most_important_frame_of_each_part() -> None:
    importance = np.zeros(24)
    importance[[1, 2, 23]] = (5, 9, 4)
    assert strip_frames(importance)[:3] == [1, 2, 4]
    assert strip_frames(importance)[-1] == 23
    assert len(strip_frames(np.ones(1000))) == attention_plot.STRIP_FRAMES
    assert strip_frames(np.ones(2)) == [0, 1]


def test_the_largest_bins_are_shown_with_frames_from_all_of_them() -> None:
    weights = np.zeros((10, 60), np.float32)
    for index in range(9):
        weights[index, index] = 1
    weights[9, 9:] = 1 / 51
    shown = bin_frames(map_of(weights, "sgs"))
    assert len(shown) == 8
    count, frames = shown[9]
    assert (count, len(frames), frames[0], frames[-1]) == (51, 10, 9, 59)
    assert bin_frames(map_of(weights, "sfc")) == {}


@pytest.mark.parametrize(("size", "frames"), [((96, 128), 60), ((170, 96), 3), ((96, 128), 1), ((96, 96), 700)])
@pytest.mark.parametrize("compressor", ["sfc", "sgs"])
def test_attended_frames_alone_are_framed_in_yellow(size: tuple[int, int], frames: int, compressor: str) -> None:
    weights = np.full((min(frames, 5), frames), 1e-3, np.float32)
    even = map_of(weights, compressor)
    gray = {frame: np.full((*size, 3), 90, np.uint8) for frame in frames_needed(even)}
    assert len(gray) <= 12 + 80
    assert yellow_above_the_map(draw(even, gray, "a video")) == 0
    if frames > 1:
        weights[:, -1] = 1
        peaked = map_of(weights, compressor)
        pictures = {frame: np.full((*size, 3), 90, np.uint8) for frame in frames_needed(peaked)}
        assert yellow_above_the_map(draw(peaked, pictures, "cost: $5_$6 日本")) > 100


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    with pytest.raises(plots.PictureError, match=r"vidcomp\[plots\]"):
        draw(map_of(np.ones((1, 2), np.float32)), {}, "")
