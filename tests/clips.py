"""Make clips whose every frame shows its own number, so that a test can tell which frame came back.

The number is painted as a 4 × 3 grid of black and white tiles, one for each bit, which survives lossy coding, scaling
and a change of the picture's shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 3, 4


def paint(number: int, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """A picture (H, W, 3) that shows `number`, 0 to 4095."""
    bits = np.array([number >> bit & 1 for bit in range(ROWS * COLUMNS)], np.uint8).reshape(ROWS, COLUMNS)
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    tiles = 40 + 180 * bits[rows][:, columns]
    return np.repeat(tiles[:, :, None], 3, axis=2).astype(np.uint8)


def read(picture: NDArray[np.uint8]) -> int:
    """The number that a picture (H, W, 3) shows."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(ROWS * COLUMNS):
        row, column = divmod(bit, COLUMNS)
        y, x = int((row + 0.5) * height / ROWS), int((column + 0.5) * width / COLUMNS)
        number |= int(picture[y - 2 : y + 3, x - 2 : x + 3].mean() > 128) << bit
    return number


def numbers(pixels: NDArray[np.uint8]) -> list[int]:
    """The numbers that frames (T, H, W, 3) show."""
    return [read(picture) for picture in pixels]


def make_clip(
    path: Path,
    frames: int = 30,
    *,
    size: tuple[int, int] = (128, 96),
    codec: str = "libx264",
    fps: int = 25,
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    times: Iterable[int] | None = None,
    turned: bool = False,
    first: int = 0,
) -> Path:
    """Write a clip to `path`, whose extension chooses the container. Its first frame shows the number `first`.

    `times` are the frames' presentation times in units of 1/fps (0, 1, 2, … by default). `turned`: the pictures are
    stored lying on their left side, and the file (MP4 or MOV) says to turn them back.
    """
    width, height = size
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options or {}))
        stream.width, stream.height = (height, width) if turned else size
        stream.pix_fmt = pixel_format
        for number, time in zip(range(frames), times or range(frames), strict=False):
            picture = paint(first + number, width, height)
            stored = np.ascontiguousarray(np.rot90(picture)) if turned else picture
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:
        set_matrix(path, (0, 1, -1, 0))
    return path


def make_sound(path: Path) -> Path:
    """Write a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copy_from(source: Path, path: Path, first: int) -> Path:
    """Cut a file's beginning off without decoding it: the copy begins at the key frame before frame `first`.

    An edit list hides the frames before `first`, as with any cut that does not encode again.
    """
    with av.open(str(source)) as given, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = given.streams.video[0]
        copy = container.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.pts is not None]
        step = round(1 / (stream.average_rate * stream.time_base))
        start = max(packet.pts for packet in packets if packet.is_keyframe and packet.pts <= first * step)
        begun = False
        for packet in packets:
            begun = begun or packet.pts == start
            if begun:
                packet.pts -= first * step
                packet.dts -= first * step
                packet.stream = copy
                container.mux(packet)
    return path


def damage(source: Path, path: Path, begin: float, end: float) -> Path:
    """Copy a file, its bytes between two fractions of its length set to zero."""
    data = bytearray(source.read_bytes())
    low, high = int(begin * len(data)), int(end * len(data))
    data[low:high] = bytes(high - low)
    path.write_bytes(data)
    return path


def overwrite(source: Path, path: Path, begin: float, end: float) -> Path:
    """Copy a file, noise in place of its bytes between two fractions of its length."""
    data = bytearray(source.read_bytes())
    low, high = int(begin * len(data)), int(end * len(data))
    data[low:high] = np.random.default_rng(0).bytes(high - low)
    path.write_bytes(data)
    return path


def cut(source: Path, path: Path, length: float) -> Path:
    """Copy the first part of a file, `length` a fraction of it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(length * len(data))])
    return path


def set_matrix(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Write a, b, c and d into the display matrix of an MP4's or MOV's only track."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 8
    a, b, c, d = (round(value * 0x10000) for value in matrix)
    for index, value in enumerate((a, b, 0, c, d, 0, 0, 0, 0x40000000)):
        data[start + 4 * index : start + 4 * index + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path
