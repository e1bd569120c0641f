from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from vidcomp.video import ERRORS, DecodeReport, Frames, VideoError, VideoInfo, target_size

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
