"""Small pictures of a video's frames, decoded in a process of their own, and as JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, DecodeWorker, Selection, VideoError

SHORT_SIDE = 96
"""Pixels of a thumbnail's shorter side."""

# Enough for a picture of this size to look clean.
_MOST_BYTES = 6_000
_QUALITIES = (85, 70, 50, 30, 15)


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


def jpeg(pixels: NDArray[np.uint8], most_bytes: int = _MOST_BYTES) -> bytes:
    """Encode a picture (H, W, 3), in a quality that lets it fit into ``most_bytes`` if any does."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    for quality in _QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()
