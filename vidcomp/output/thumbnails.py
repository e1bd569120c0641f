"""A small picture of a video, as JPEG."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, DecodeWorker, Selection, VideoError

_SHORT_SIDE = 96
# Bits a second at one picture a second: enough for a picture of this size to look clean, some 5 kB.
_BIT_RATE = 40_000


def thumbnail(path: str, worker: DecodeWorker) -> bytes | None:
    """A JPEG of the video's middle frame, 96 pixels on its shorter side; ``None`` if it cannot be decoded."""
    try:
        middle = (worker.probe(path, count=False).expected_frames or 1) // 2
        # The first frame is there even where the file promises more than it holds.
        wanted = Selection(indices=tuple(sorted({0, middle})))
        with worker.open(path, DecodeOptions(_SHORT_SIDE, wanted)) as reader:
            pictures = [chunk.pixels[-1] for chunk in reader.chunks() if len(chunk)]
    except VideoError:
        return None
    return _jpeg(pictures[-1]) if pictures else None


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a picture (H, W, 3); a frame of Motion JPEG is a JPEG file."""
    import av

    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1)
    encoder.bit_rate = _BIT_RATE
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return b"".join(bytes(packet) for picture in (frame, None) for packet in encoder.encode(picture))
