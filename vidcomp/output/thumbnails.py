"""Small pictures of a video's frames, decoded in a process of their own, and as JPEG."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, DecodeWorker, Selection, VideoError

SHORT_SIDE = 96
"""Pixels of a thumbnail's shorter side."""

# Bits a second at one picture a second: enough for a picture of this size to look clean, some 5 kB.
_BIT_RATE = 40_000


def thumbnail(path: str, worker: DecodeWorker) -> bytes | None:
    """A JPEG of the video's middle frame, 96 pixels on its shorter side; ``None`` if it cannot be decoded."""
    try:
        middle = (worker.probe(path, count=False).expected_frames or 1) // 2
        return jpeg(pictures_of(path, worker, [middle])[middle])
    except VideoError:
        return None


def pictures_of(
    path: str, worker: DecodeWorker, indices: Iterable[int], *, short_side: int = SHORT_SIDE
) -> dict[int, NDArray[np.uint8]]:
    """The frames of the numbers asked for, as pictures (H, W, 3).

    A file may hold fewer frames than it promises: the last one before stands in for a frame that did not arrive.

    Raises:
        VideoError: nothing can be decoded.
    """
    wanted = sorted(set(indices))
    # The first frame is there even where the file promises more than it holds.
    selection = Selection(indices=tuple(sorted({0, *wanted})))
    arrived: dict[int, NDArray[np.uint8]] = {}
    with worker.open(path, DecodeOptions(short_side, selection, max_damage=1.0)) as reader:
        for chunk in reader.chunks():
            arrived.update(zip(chunk.indices.tolist(), chunk.pixels, strict=True))
    numbers = np.array(sorted(arrived))
    places = np.clip(np.searchsorted(numbers, wanted, side="right") - 1, 0, None)
    return {index: arrived[int(numbers[place])] for index, place in zip(wanted, places.tolist(), strict=True)}


def jpeg(pixels: NDArray[np.uint8], bit_rate: int = _BIT_RATE) -> bytes:
    """Encode a picture (H, W, 3); a frame of Motion JPEG is a JPEG file, of some ``bit_rate`` bits at most."""
    import av

    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1)
    encoder.bit_rate = bit_rate
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return b"".join(bytes(packet) for picture in (frame, None) for packet in encoder.encode(picture))
