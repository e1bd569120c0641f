"""Clips of moments: which frames are in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests import clips
from tests.output.test_formats import BAD, GOOD
from vidcomp.inference.prediction import Label, Moment, Prediction
from vidcomp.output.moment_clips import MomentClips
from vidcomp.video import DecodePool


def found(*times: tuple[float, float]) -> Prediction:
    return replace(GOOD, moments=tuple(Moment(start, end, Label("jump/high", 0, 0.9)) for start, end in times))


def shown(path: Path) -> list[tuple[float, int]]:
    with av.open(str(path)) as container:
        return [
            (round(float(frame.time or 0), 2), clips.read(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_copy_begins_with_the_key_frame_before(tmp_path: Path, suffix: str) -> None:
    video = clips.make_clip(tmp_path / f"x{suffix}", 60, options={"g": "12", "bf": "0"})
    with DecodePool() as pool:
        first, last = MomentClips(tmp_path / "cut", [str(video)], pool).write(str(video), found((0.6, 0.8), (2.0, 2.4)))
    kind = ".mkv" if suffix == ".avi" else suffix
    assert first.name == f"x{suffix}.0.60-0.80 jump_high{kind}"
    assert [number for _, number in shown(first)] == list(range(12, 20))
    assert shown(first)[0][0] == 0
    assert [number for _, number in shown(last)] == list(range(48, 60))


@pytest.mark.parametrize("size", [(128, 96), (97, 65)])
def test_an_exact_clip_holds_its_frames_alone(tmp_path: Path, size: tuple[int, int]) -> None:
    codec, pixels = ("libx264", "yuv420p") if size[0] % 2 == 0 else ("ffv1", "yuv444p")
    video = clips.make_clip(tmp_path / "x.mkv", 60, size=size, codec=codec, pixel_format=pixels)
    with DecodePool() as pool:
        cut = MomentClips(tmp_path / "cut", [str(video)], pool, exact=True)
        first, last = cut.write(str(video), found((0.6, 0.8), (2.0, 2.4)))
    assert shown(first) == [(pytest.approx(step / 25, abs=0.006), 15 + step) for step in range(5)]
    assert [number for _, number in shown(last)] == list(range(50, 60))


def test_sound_goes_along(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        video, sound = (
            container.add_stream("mpeg4", rate=25, options={"g": "5"}),
            container.add_stream("pcm_s16le", 8000),
        )
        video.width = video.height = 32
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(video.encode(frame))
            audio = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), layout="mono")
            audio.sample_rate, audio.pts = 8000, 320 * number
            container.mux(sound.encode(audio))
        container.mux(video.encode())
        container.mux(sound.encode())
    with DecodePool() as pool:
        (clip,) = MomentClips(tmp_path / "cut", [str(path)], pool).write(str(path), found((1.0, 1.4)))
    with av.open(str(clip)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == 10 * 320


def test_nothing_found_makes_no_file(tmp_path: Path) -> None:
    with DecodePool() as pool:
        cut = MomentClips(tmp_path / "cut", ["x.mp4"], pool)
        assert cut.write("x.mp4", replace(GOOD, moments=())) == []
        assert cut.write("x.mp4", BAD) == []
    assert not (tmp_path / "cut").exists()
