"""A video made on the spot, for measuring speed, size and memory where nobody brought one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# The papers' input: "288×1", read at stride 8, which is 36 frames; a video of about 10 s at 30 frames/s. At a short
# side of 256 these pictures become the papers' 256×312.
FRAMES = 288
FPS = 30
SIZE = (390, 320)

_TILE = 8
_PIXELS_PER_FRAME = 3  # that the picture moves
_ROOM = 64 * _PIXELS_PER_FRAME


def make_video(path: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, codec: str | None = None) -> Path:
    """Write ``frames`` pictures of ``size`` (width, height) to ``path`` and return it: a view over a soft pattern.

    ``codec`` is an encoder of FFmpeg's; by default H.264 where that is there, else MPEG-4.
    """
    import av

    codec = codec or ("libx264" if "libx264" in av.codecs_available else "mpeg4")
    width, height = size
    pattern = _pattern(width, height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            # There and back, along two ways of different length, so that no stretch of a video repeats another soon.
            left = _PIXELS_PER_FRAME * abs(number % 128 - 64)
            top = _PIXELS_PER_FRAME * abs(number % 90 - 45)
            picture = np.ascontiguousarray(pattern[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _pattern(width: int, height: int) -> NDArray[np.uint8]:
    """Tiles of random colors (H, W, 3), larger than the picture by the room that it moves in."""
    rows, columns = ((side + _ROOM) // _TILE + 2 for side in (height, width))
    tiles = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    return tiles.repeat(_TILE, axis=0).repeat(_TILE, axis=1)
