"""Motion vectors become fields of motion, and these a prediction of the next picture.

A field covers the coded picture with cells of 8 × 8 pixels, the finest blocks that decoders tell of. The vector of a
cell is added to its place to find what it was copied from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL = 8
"""Pixels of a cell's sides."""

_MARGIN = 16  # pixels around a picture that repeat its edge, for vectors that point beyond


def grid_size(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of cells that cover a picture."""
    return -(-width // CELL), -(-height // CELL)


def fields_of(
    vectors: NDArray[Any], counts: Sequence[int], size: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The fields of consecutive pictures of `size` (width, height): float32 (P, h, w, 2), x and y in pixels, and bool
    (P, h, w), where there is one.

    `vectors` are records as FFmpeg has them, so many of each picture after the other as `counts` (P) says. Only those
    into the past count. A cell without any was coded by itself, and is 0.
    """
    columns, rows = grid_size(*size)
    # Blocks of 16 × 16 may reach beyond the last cell.
    wide, high = columns + 2, rows + 2
    # A pair of floats moves as one complex number, at half the price.
    field = np.zeros(len(counts) * high * wide, np.complex64)
    known = np.zeros(len(field), np.bool_)
    if len(vectors):
        pictures = np.repeat(np.arange(len(counts)) * high * wide, counts)
        width, height = vectors["w"].astype(np.int32), vectors["h"].astype(np.int32)
        x, y = (vectors["dst_x"] - width // 2) // CELL, (vectors["dst_y"] - height // 2) // CELL
        fits = (vectors["source"] < 0) & (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
        values = np.empty((len(vectors), 2), np.float32)
        np.divide(vectors["motion_x"], vectors["motion_scale"], out=values[:, 0], casting="unsafe")
        np.divide(vectors["motion_y"], vectors["motion_scale"], out=values[:, 1], casting="unsafe")
        value = values.view(np.complex64)[:, 0]
        at = pictures + y * wide + x
        for offset, covers in (
            (0, fits),
            (1, fits & (width > CELL)),
            (wide, fits & (height > CELL)),
            (wide + 1, fits & (width > CELL) & (height > CELL)),
        ):
            cells = at[covers] + offset
            field[cells] = value[covers]
            known[cells] = True
    shape = len(counts), high, wide
    return (
        field.view(np.float32).reshape(*shape, 2)[:, :rows, :columns],
        known.reshape(shape)[:, :rows, :columns],
    )


def accumulate(field: NDArray[np.float32], known: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors to the pictures before (P, h, w, 2) added up along their way: vectors to the picture before the first.

    What leads through a cell without a vector is not known any further, and 0.
    """
    count, rows, columns = known.shape
    x = (np.arange(columns, dtype=np.float32) + 0.5) * CELL
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * CELL
    from_x = np.clip((x + field[..., 0]) / CELL, 0, columns - 1).astype(np.intp)
    from_y = np.clip((y + field[..., 1]) / CELL, 0, rows - 1).astype(np.intp)
    cells = rows * columns
    source = (from_y * columns + from_x).reshape(count, cells)
    total = np.ascontiguousarray(field).view(np.complex64).reshape(count, cells)
    reached = known.reshape(count, cells).copy()
    for number in range(1, count):
        total[number] += total[number - 1].take(source[number])
        reached[number] &= reached[number - 1].take(source[number])
        total[number] *= reached[number]
    return total.view(np.float32).reshape(count, rows, columns, 2), reached.reshape(known.shape)


class Predictor:
    """What is left of a picture's brightness once the picture before has been moved to where it went, at half size."""

    def __init__(self, size: tuple[int, int]) -> None:
        columns, rows = grid_size(*size)
        self.half = -(-size[1] // 2), -(-size[0] // 2)
        self.size = size
        self._stride = columns * CELL + 2 * _MARGIN
        self._shape = rows * CELL + 2 * _MARGIN, self._stride
        half = CELL // 2
        y = _MARGIN + 2 * np.arange(rows * half).reshape(rows, half, 1, 1)
        x = _MARGIN + 2 * np.arange(columns * half).reshape(1, 1, columns, half)
        self._places = y * self._stride + x
        self._cell_x = CELL * np.arange(columns, dtype=np.float32)
        self._cell_y = CELL * np.arange(rows, dtype=np.float32)[:, None]

    def blurred(self, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mean of each pixel and its right and lower neighbors, with a margin that repeats the edge.

        Every other pixel of it is the picture at half size, and also what it would be once moved by one pixel.
        """
        height, width = luma.shape
        picture = np.empty(self._shape, np.uint8)
        bottom, right = _MARGIN + height, _MARGIN + width
        picture[_MARGIN:bottom, _MARGIN:right] = luma
        picture[_MARGIN:bottom, :_MARGIN] = luma[:, :1]
        picture[_MARGIN:bottom, right:] = luma[:, -1:]
        picture[:_MARGIN] = picture[_MARGIN]
        picture[bottom:] = picture[bottom - 1]
        # Bytes all the way, line after line, which is fast: what halving cuts off, it cuts off both of two pictures.
        flat = picture.reshape(-1) >> 1
        pairs = flat[:-1] + flat[1:]
        pairs >>= 1
        np.add(pairs[: -self._stride], pairs[self._stride :], out=picture.reshape(-1)[: len(pairs) - self._stride])
        return picture

    def residual(
        self, picture: NDArray[np.uint8], before: NDArray[np.uint8], field: NDArray[np.float32]
    ) -> NDArray[np.int16]:
        """The picture minus its prediction from the one before, both as `blurred` gives them: (H / 2, W / 2).

        `field` (h, w, 2) are vectors to the picture before; where there is none it is taken to have stood still.
        """
        high, wide = self._shape
        # No vector leads out of the margin.
        x = np.clip(np.rint(field[..., 0]), -_MARGIN - self._cell_x, wide - _MARGIN - CELL - self._cell_x)
        y = np.clip(np.rint(field[..., 1]), -_MARGIN - self._cell_y, high - _MARGIN - CELL - self._cell_y)
        offset = (y * self._stride + x).astype(np.intp)
        places = self._places + offset[:, None, :, None]
        rows, columns = self.half
        predicted = before.reshape(-1).take(places, mode="clip").reshape(4 * len(field), -1)[:rows, :columns]
        return np.asarray(np.subtract(self._halved(picture), predicted, dtype=np.int16))

    def difference(self, picture: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.int16]:
        """The picture minus an earlier one, place by place, both as `blurred` gives them: (H / 2, W / 2)."""
        return np.asarray(np.subtract(self._halved(picture), self._halved(before), dtype=np.int16))

    def _halved(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        end = self.size[1] + _MARGIN, self.size[0] + _MARGIN
        return picture[_MARGIN : end[0] : 2, _MARGIN : end[1] : 2]
