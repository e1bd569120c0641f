"""Of several streams the right one is read, and its times and length are what a player makes of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests import clips
from tests.video.test_reader import DECODERS, read
from vidcomp.video.container import describe

SMALL, LARGE = (64, 48), (128, 96)
# Sizes and frame counts of the streams, which are default (None: the container decides), and which is to be read.
CASES = {
    "small first": ([(SMALL, 8), (LARGE, 8)], None, 1),
    "large first": ([(LARGE, 8), (SMALL, 8)], None, 0),
    "equal": ([(LARGE, 8), (LARGE, 8)], None, 0),
    "time-lapse second": ([(LARGE, 8), (LARGE, 2)], None, 0),
}


def make(path: Path, streams: list[tuple[tuple[int, int], int]], default: int | None = None) -> Path:
    """Streams of frames; without `default`, all are marked as default or none is, whatever the container does."""
    with av.open(str(path), "w") as container:
        written = []
        for size, _ in streams:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            chosen = default is None or len(written) == default
            stream.disposition = Disposition.default if chosen else Disposition(0)
            written.append(stream)
        for index, ((size, frames), stream) in enumerate(zip(streams, written, strict=True)):
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(clips.paint(100 * index + number, *size), format="rgb24")
                frame.pts, frame.time_base = number * 8 // frames, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def make_with_sound(path: Path, *, start: int = 0, sound_s: int = 1) -> Path:
    """25 frames from frame time `start` on, and silence from 0 on, packets in the order of time."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=16000)
        video.width, video.height, video.pix_fmt = *LARGE, "yuv420p"
        packets = []
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(clips.paint(number), format="rgb24")
            frame.pts, frame.time_base = start + number, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode()
        for at in range(0, 16000 * sound_s, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 16000, at, Fraction(1, 16000)
            packets += sound.encode(silence)
        packets += sound.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("name", CASES)
def test_the_stream_that_is_read(tmp_path: Path, name: str, ending: str, decoder: str) -> None:
    streams, default, chosen = CASES[name]
    frames, report = read(make(tmp_path / f"a.{ending}", streams, default), decoder=decoder)
    assert clips.numbers(frames.pixels) == [100 * chosen + number for number in range(8)]
    width, height = streams[chosen][0]
    assert f"it has 2 video streams; number {chosen + 1} was read ({width}×{height})" in report.notes


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", ["attached_pic", "timed_thumbnails"])
def test_pictures_beside_the_video_are_none(tmp_path: Path, kind: str, first: bool, decoder: str) -> None:
    """However large they are, and wherever they stand."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        codecs = ["mjpeg", "libx264"] if first else ["libx264", "mjpeg"]
        streams = {codec: container.add_stream(codec, rate=25) for codec in codecs}
        video, cover = streams["libx264"], streams["mjpeg"]
        video.width, video.height, video.pix_fmt = *SMALL, "yuv420p"
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = Disposition[kind]
        for stream, frames in ((cover, 1), (video, 8)):
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(clips.paint(number, stream.width, stream.height), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with av.open(str(path)) as container:
        if not any(stream.disposition & Disposition[kind] for stream in container.streams.video):
            pytest.skip(f"this FFmpeg writes no {kind} into MP4")
    frames, report = read(path, decoder=decoder)
    assert (frames.info.width, frames.info.height) == SMALL
    assert clips.numbers(frames.pixels) == list(range(8))
    assert not [note for note in report.notes if "was read" in note]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("default", [0, 1])
def test_the_default_stream_goes_first(tmp_path: Path, default: int, decoder: str) -> None:
    frames, _ = read(make(tmp_path / "a.mkv", [(LARGE, 8), (SMALL, 8)], default), decoder=decoder)
    assert clips.numbers(frames.pixels)[0] == 100 * default


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_video_that_starts_late(tmp_path: Path, ending: str, decoder: str) -> None:
    frames, report = read(make_with_sound(tmp_path / f"a.{ending}", start=50, sound_s=3), decoder=decoder)
    # Sound is led in by up to two blocks of its codec.
    assert frames.seconds == pytest.approx(2 + np.arange(25) / 25, abs=0.13)
    assert frames.seconds[0] == frames.info.start_s
    assert report.duration_s == pytest.approx(1, abs=0.01)
    assert not [note for note in report.notes if "promises" in note]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mkv", "flv", "mp4"])
def test_sound_that_outlasts_the_picture_is_no_cut(tmp_path: Path, ending: str, decoder: str) -> None:
    path = make_with_sound(tmp_path / f"a.{ending}", sound_s=6)
    frames, report = read(path, decoder=decoder)
    assert len(frames) == 25
    assert not [note for note in report.notes if "promises" in note]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_time_lapse_lacks_no_frame(tmp_path: Path, ending: str, decoder: str) -> None:
    """The header of the MKV claims 25 frames a second."""
    path = clips.make_clip(tmp_path / f"a.{ending}", 20, times=range(0, 1000, 50))
    frames, report = read(path, decoder=decoder)
    assert clips.numbers(frames.pixels) == list(range(20))
    assert report.duration_s == pytest.approx(40, abs=2)
    assert not [note for note in report.notes if "promises" in note]


@pytest.mark.parametrize("ending", ["mkv", "flv"])
def test_a_cut_is_still_told(tmp_path: Path, ending: str) -> None:
    path = make_with_sound(tmp_path / f"a.{ending}")
    frames, report = read(clips.cut(path, tmp_path / f"cut.{ending}", 0.7))
    assert len(frames) < 22
    assert [note for note in report.notes if "promises about" in note]


def test_recordings_that_were_joined(tmp_path: Path) -> None:
    """The second brings a stream of its own, which appears only while the first is read."""
    camcorder = clips.make_clip(tmp_path / "a.ts", 50, container_options={"mpegts_m2ts_mode": "1"})
    broadcast = clips.make_clip(tmp_path / "b.ts", 50, container_options={"mpegts_start_pid": "300"})
    path = tmp_path / "joined.ts"
    path.write_bytes(camcorder.read_bytes() + broadcast.read_bytes())
    frames, _ = read(path)
    assert clips.numbers(frames.pixels) == list(range(50))
    assert describe(str(path), count=True).frame_count == 50
