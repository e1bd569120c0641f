"""Pictures come out as a player shows them, whatever flip or turn the file asks for, with both decoders."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests import clips
from tests.video.test_reader import DECODERS, read

WIDTH, HEIGHT = 128, 96
COLORS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [220, 220, 220]])
# A matrix's a, b, c, d, and which stored corner (0 1 / 2 3) is shown where.
ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), "01/23"),
    "mirrored": ((-1, 0, 0, 1), "10/32"),
    "upside_down": ((-1, 0, 0, -1), "32/10"),
    "vertical_flip": ((1, 0, 0, -1), "23/01"),
    "transposed": ((0, 1, 1, 0), "02/13"),
    "clockwise": ((0, 1, -1, 0), "20/31"),
    "antitransposed": ((0, -1, -1, 0), "31/20"),
    "counter_clockwise": ((0, -1, 1, 0), "13/02"),
}
ODD = {"zero": (0, 0, 0, 0), "singular": (1, 1, 1, 1), "diagonal": (0.7071, 0.7071, -0.7071, 0.7071)}


def make(path: Path, messages: dict[int, bytes] | None = None, codec: str = "libx264") -> Path:
    """A clip of 12 frames with a color in each corner; `messages` go before the coded frames of these numbers."""
    options = {"bf": "0", "g": "4"} if codec == "libx264" else {"x265-params": "bframes=0:keyint=4:log-level=none"}
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for corner, color in enumerate(COLORS):
        y, x = divmod(corner, 2)
        picture[y * 48 : y * 48 + 48, x * 64 : x * 64 + 64] = color
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        for number, packet in enumerate([*packets, *stream.encode()]):
            copy = av.Packet((messages or {}).get(number, b"") + bytes(packet))
            copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
            copy.is_keyframe = packet.is_keyframe
            container.mux(copy)
    return path


def sei(degrees: int, *, mirrored: bool = False, header: bytes = b"\x06") -> bytes:
    """A unit that says how the next picture is to be shown; its `header` is H.264's, or else HEVC's."""
    bits = f"0{int(mirrored)}0{degrees * 65536 // 360:016b}1011"
    payload = int(bits.ljust(24, "0"), 2).to_bytes(3, "big")
    return b"\0\0\0\1" + header + bytes([47, 3]) + payload.replace(b"\0\0", b"\0\0\3") + b"\x80"


def corners(picture: NDArray[np.uint8]) -> str:
    """Which color is in which corner of a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    points = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    near = [int(abs(COLORS - picture[point].astype(int)).sum(axis=1).argmin()) for point in points]
    return "{}{}/{}{}".format(*near)


def by_ffmpeg(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg program to compare with")
    scale = ["-vf", f"scale={size[0]}:{size[1]}:flags=bicubic", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    command = [program, "-v", "error", "-nostdin", "-i", str(path), *scale]
    raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)


def turned(tmp_path: Path, matrix: tuple[float, float, float, float], ending: str) -> Path:
    if ending != "mkv":
        return clips.set_matrix(make(tmp_path / f"a.{ending}"), matrix)
    source = clips.set_matrix(make(tmp_path / "a.mp4"), matrix)
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg program to write a turned MKV")
    path = tmp_path / "a.mkv"
    subprocess.run([program, "-v", "error", "-i", str(source), "-c", "copy", str(path)], check=True)
    return path


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_flips_and_turns(tmp_path: Path, name: str, ending: str, decoder: str) -> None:
    matrix, shown = ORIENTATIONS[name]
    path = turned(tmp_path, matrix, ending)
    frames, report = read(path, decoder=decoder, short_side=48)
    size = (48, 64) if matrix[0] == 0 else (64, 48)
    assert (frames.pixels.shape[2], frames.pixels.shape[1]) == size
    assert {corners(picture) for picture in frames.pixels} == {shown}
    assert not [note for note in report.notes if "matrix" in note]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_flips_and_turns_as_ffmpeg_shows_them(tmp_path: Path, name: str, ending: str, decoder: str) -> None:
    path = turned(tmp_path, ORIENTATIONS[name][0], ending)
    frames, _ = read(path, decoder=decoder)
    theirs = by_ffmpeg(path, (frames.info.width, frames.info.height))
    assert frames.pixels.shape == theirs.shape
    assert abs(frames.pixels.astype(int) - theirs).mean() < 0.5


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ODD)
def test_other_matrices_are_ignored_with_a_note(tmp_path: Path, name: str, decoder: str) -> None:
    frames, report = read(clips.set_matrix(make(tmp_path / "a.mp4"), ODD[name]), decoder=decoder)
    assert frames.pixels.shape == (12, HEIGHT, WIDTH, 3)
    assert {corners(picture) for picture in frames.pixels} == {"01/23"}
    assert len([note for note in report.notes if "matrix" in note]) == 1


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ending", ["mp4", "ts"])
@pytest.mark.parametrize(("codec", "header"), [("libx264", b"\x06"), ("libx265", b"\x4e\x01")])
def test_pictures_with_their_own_orientation(
    tmp_path: Path, codec: str, header: bytes, ending: str, decoder: str
) -> None:
    # In HEVC what was said holds until something else is.
    said = {4: (180, False), 5: (90, False), 6: (0, False), 8: (0, True), 9: (0, False)}
    messages = {number: sei(degrees, mirrored=mirrored, header=header) for number, (degrees, mirrored) in said.items()}
    path = make(tmp_path / f"a.{ending}", messages, codec)
    frames, _ = read(path, decoder=decoder)
    expected = {4: "32/10", 5: "13/02", 8: "10/32"}
    assert [corners(picture) for picture in frames.pixels] == [expected.get(n, "01/23") for n in range(12)]
    theirs = by_ffmpeg(path, (WIDTH, HEIGHT))
    assert abs(frames.pixels.astype(int) - theirs).mean(axis=(1, 2, 3)).max() < 3
