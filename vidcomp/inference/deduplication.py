"""Frames that are the same to the last bit pass a head once: still pictures, slides, loops, and repeated last frames.

Only for heads that look at one frame at a time; there, equal frames have equal features, wherever they stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class DistinctFrames:
    """The frames of one video without repetitions, and which of them each of the video's frames is.

    Frames are compared by the SHA-256 of their bytes, which processors compute at gigabytes a second.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._places: list[int] = []

    def of(self, chunks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Pass on, of each chunk (t, H, W, 3), the frames that are new; chunks without any are left out."""
        for chunk in chunks:
            new = []
            for row, frame in enumerate(chunk):
                digest = hashlib.sha256(np.ascontiguousarray(frame).data).digest()
                if digest not in self._numbers:
                    self._numbers[digest] = len(self._numbers)
                    new.append(row)
                self._places.append(self._numbers[digest])
            if new:
                yield chunk if len(new) == len(chunk) else chunk[new]

    def spread(self, features: Tensor) -> Tensor:
        """From features (N, C, distinct frames, H, W) to those of all frames, (N, C, T, H, W)."""
        if len(self._numbers) == len(self._places):
            return features
        return features.index_select(2, torch.tensor(self._places, device=features.device))
