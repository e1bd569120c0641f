from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from vidcomp.video import ERRORS, DecodeReport, Frames, VideoError, VideoInfo, target_size
from vidcomp.video.frames import crop, crop_box, to_input

INFO = VideoInfo("a.mp4", 64, 48, 0, 25.0, 2.0, None, "h264", "mp4", 1000)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((320, 240), 256, (342, 256)),  # 341.33: up to the nearest even number
        ((340, 256), 128, (170, 128)),
        ((256, 340), 128, (128, 170)),  # upright
        ((320, 240), 480, (640, 480)),  # larger than the source
        ((240, 240), 101, (101, 101)),  # square stays square
        ((1000, 999), 101, (102, 101)),
        ((16, 16), None, (16, 16)),
        ((321, 241), None, (321, 241)),
    ],
)
def test_target_size(size: tuple[int, int], short_side: int | None, expected: tuple[int, int]) -> None:
    assert target_size(*size, short_side) == expected


def test_frames_check_themselves() -> None:
    pixels, seconds, indices = np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2), np.zeros(2, np.int64)
    assert len(Frames(pixels, seconds, indices, INFO)) == 2
    with pytest.raises(ValueError, match="pixels"):
        Frames(pixels.astype(np.float32), seconds, indices, INFO)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pixels"):
        Frames(pixels[..., :2], seconds, indices, INFO)
    with pytest.raises(ValueError, match="seconds"):
        Frames(pixels, seconds[:1], indices, INFO)
    with pytest.raises(ValueError, match="indices"):
        Frames(pixels, seconds, indices[:1], INFO)


def test_facts_check_themselves() -> None:
    with pytest.raises(ValueError, match="pixel"):
        VideoInfo("a", 0, 48, 0, 25.0, None, None, "h264", "mp4", 1)
    with pytest.raises(ValueError, match="rotation"):
        VideoInfo("a", 64, 48, 45, 25.0, None, None, "h264", "mp4", 1)
    with pytest.raises(ValueError, match="fps"):
        VideoInfo("a", 64, 48, 0, float("inf"), None, None, "h264", "mp4", 1)
    with pytest.raises(ValueError, match="counts"):
        DecodeReport(decoded=1, used=2, repaired=0, duration_s=1.0, decoder="pyav")


def test_expected_frames_are_the_claim_or_an_estimate() -> None:
    assert INFO.expected_frames == 50
    assert VideoInfo("a", 64, 48, 0, 25.0, 2.0, 49, "h264", "mp4", 1).expected_frames == 49
    assert VideoInfo("a", 64, 48, 0, 25.0, None, None, "h264", "h264", 1).expected_frames is None


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_travel_between_processes(kind: str) -> None:
    error = ERRORS[kind]("a b.mp4", "what went\nwrong")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.path, copy.kind, str(copy)) == (type(error), error.path, kind, "a b.mp4: what went wrong")


def test_an_error_is_one_printable_line() -> None:
    assert str(VideoError("a\nb\udcff.mp4", "wrong")) == "a\\nb\\udcff.mp4: wrong"


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, vidcomp.video; print({'torch', 'av', 'decord'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


MEAN, STD = (0.45, 0.4, 0.35), (0.225, 0.25, 0.3)


@pytest.mark.parametrize(
    ("width", "height", "position", "expected"),
    [
        (342, 256, 0.0, (0, 0)),
        (342, 256, 0.5, (43, 0)),
        (342, 256, 1.0, (86, 0)),
        (256, 342, 1.0, (0, 86)),
        (300, 276, 0.5, (22, 10)),
    ],
)
def test_crop_box(width: int, height: int, position: float, expected: tuple[int, int]) -> None:
    assert crop_box(width, height, 256, position) == expected


def test_crop_is_a_view() -> None:
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    right = crop(pixels, 4, 1.0)
    assert isinstance(right, np.ndarray)
    assert np.shares_memory(right, pixels)
    assert (right == pixels[:, :, 2:]).all()


def test_a_crop_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        crop_box(100, 200, 112, 0.5)


def test_to_input_by_hand() -> None:
    pixels = np.array([[[[0, 51, 255]]], [[[255, 102, 0]]]], np.uint8)
    result = to_input(pixels, MEAN, STD)
    assert result.shape == (3, 2, 1, 1)
    assert result.dtype == torch.float32
    expected = [[(0 - 0.45) / 0.225, (1 - 0.45) / 0.225], [(0.2 - 0.4) / 0.25, 0.0], [(1 - 0.35) / 0.3, -0.35 / 0.3]]
    assert torch.allclose(result.flatten(1), torch.tensor(expected), atol=1e-6)


def test_chunks_are_normalized_as_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    whole = to_input(pixels, MEAN, STD)
    parts = torch.cat([to_input(pixels[:3], MEAN, STD), to_input(torch.from_numpy(pixels[3:]), MEAN, STD)], dim=1)
    assert torch.equal(whole, parts)
    assert whole.is_contiguous()


def test_to_input_takes_a_crop_and_a_dtype() -> None:
    pixels = np.zeros((2, 4, 6, 3), np.uint8)
    assert to_input(crop(pixels, 4), MEAN, STD, dtype=torch.float16).dtype == torch.float16


def test_to_input_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="uint8"):
        to_input(np.zeros((2, 4, 4, 3), np.float32), MEAN, STD)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="std above 0"):
        to_input(np.zeros((2, 4, 4, 3), np.uint8), MEAN, (0.0, 1.0, 1.0))
