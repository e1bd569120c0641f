"""A video made on the spot, for measuring speed, size and memory where nobody brought one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# The papers' input: "288×1", read at stride 8, which is 36 frames; a video of about 10 s at 30 frames/s. At a short
# side of 256 these pictures become the papers' 256×312.
FRAMES = 288
FPS = 30
WIDTH, HEIGHT = 390, 320

_CODECS = ("libx264", "mpeg4")


def make_sample_video(path: Path, frames: int = FRAMES) -> Path:
    """Write a video (H.264 where the encoder is there) of a pattern that drifts, to ``path``, and return it."""
    import av
    from av.codec import codecs_available

    codec = next(name for name in _CODECS if name in codecs_available)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _picture(number: int) -> NDArray[np.uint8]:
    """Frame ``number`` (H, W, 3): waves that move at three speeds, so that no two frames are the same."""
    rows = np.arange(HEIGHT)[:, None] / HEIGHT
    columns = np.arange(WIDTH)[None, :] / WIDTH
    time = number / FPS
    waves = [
        np.sin(2 * np.pi * (4 * columns + 3 * rows + speed * time)) * np.cos(2 * np.pi * (7 * rows - speed * time / 2))
        for speed in (0.3, 0.7, 1.1)
    ]
    return np.asarray(128 + 110 * np.stack(waves, axis=-1), np.uint8)
