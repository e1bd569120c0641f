"""Leaping from key frame to key frame gives the frames that reading through gives, and decodes fewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import clips
from vidcomp.video import DecodeOptions, Selection, needed, open_reader, uniform_clips
from vidcomp.video.container import scan
from vidcomp.video.pyav import plan_seeks

FRAMES = 1500
CODINGS = {
    "plain": {"g": "50", "bf": "0"},
    "b_frames": {"g": "50", "bf": "3"},
    "open_gop": {"g": "50", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    "one_key": {"g": "9999", "bf": "2", "x264-params": "scenecut=0"},
}


@pytest.fixture(scope="module", params=[(coding, ending) for coding in CODINGS for ending in ("mp4", "mkv")])
def long_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    coding, ending = request.param
    path = tmp_path_factory.mktemp("long") / f"{coding}.{ending}"
    return clips.make_clip(path, FRAMES, size=(64, 48), options={"preset": "ultrafast", **CODINGS[coding]})


def read(path: Path, selection: Selection) -> tuple[list[int], list[int], np.ndarray, int]:
    """Numbers as painted, numbers as told, times, and how many frames were decoded."""
    with open_reader(str(path), DecodeOptions(selection=selection)) as reader:
        chunks = list(reader.chunks())
    painted = [number for chunk in chunks for number in clips.numbers(chunk.pixels)]
    told = [int(index) for chunk in chunks for index in chunk.indices]
    return painted, told, np.concatenate([chunk.seconds for chunk in chunks]), reader.report.decoded


def test_leaps_are_exact_in_number_and_time(long_clip: Path) -> None:
    wanted = (0, 1, 399, 400, 401, 777, 1130, 1131, FRAMES - 1)
    painted, told, seconds, decoded = read(long_clip, Selection(indices=wanted))
    assert tuple(painted) == tuple(told) == wanted
    np.testing.assert_allclose(seconds, np.array(wanted) / 25, atol=2e-3)
    assert decoded <= FRAMES if "one_key" in long_clip.name else decoded < FRAMES / 4


def test_leaps_to_samples_by_the_second(long_clip: Path) -> None:
    # At 60 a second, the video's 25 are repeated two or three times.
    wanted = (0, 1, 1000, 1001, 1002, 1003, 3599)
    painted, told, seconds, _ = read(long_clip, Selection(indices=wanted, fps=60))
    assert painted == told == [0, 0, 417, 417, 417, 418, 1499]
    np.testing.assert_allclose(seconds, np.array(wanted) / 60)


def test_uniform_clips_of_a_long_video(long_clip: Path) -> None:
    selection = needed(uniform_clips(FRAMES, clips=4, frames_per_clip=8, stride=4))
    painted, told, *_ = read(long_clip, selection)
    assert painted == told == list(selection.indices or ())


def test_nothing_is_leapt_over_where_it_would_not_pay_or_would_not_be_exact(tmp_path: Path) -> None:
    short = clips.make_clip(tmp_path / "short.mp4", 60)
    assert plan_seeks(str(short), "mov,mp4", Selection(indices=(0, 59))) is None
    assert plan_seeks(str(short), "mov,mp4", Selection(stride=8)) is None
    stream = clips.make_clip(tmp_path / "stream.ts", 400, size=(64, 48), options={"preset": "ultrafast"})
    assert plan_seeks(str(stream), "mpegts", Selection(indices=(0, 399))) is None
    whole = clips.make_clip(tmp_path / "whole.mp4", 400, size=(64, 48), options={"g": "50"})
    shifted = clips.copy_from(whole, tmp_path / "shifted.mp4", 30)
    assert scan(str(shifted)).shifted
    assert plan_seeks(str(shifted), "mov,mp4", Selection(indices=(0, 350))) is None
