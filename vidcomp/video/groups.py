"""Groups of pictures as chunks of one video, as frames are: what a model of the bitstream is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.bitstream import BitstreamOptions, BitstreamReader, GroupOfPictures
from vidcomp.video.frames import DecodeOptions, DecodeReport, Frames, Layout, ReaderBase, VideoInfo
from vidcomp.video.motion import grid_size


class GroupReader(ReaderBase[DecodeReport]):
    """The groups of one video, forward only: as `Reader`, whose frames are the anchors here.

    Beside the anchors, chunks of G groups hold what `DecodeOptions.modalities` names of ``motion``, ``mask`` and
    ``residual``, arrays (G, P, ...) as in `GroupOfPictures`, filled up with zeros to P = 11 (one less than the frames
    from one anchor to the next) for each group that is `joined`: of these, only the first one's anchor is kept, and
    the P-frames follow one another; and ``present``, uint8 (G, P), 1 where there was a P-frame. ``difference`` has one
    picture of each group joined, (G, joined, H', W'), and ``differs``, uint8 (G, joined), is 1 where there is one. The
    selection counts groups.
    """

    def __init__(self, path: str, options: DecodeOptions) -> None:
        self._options = options
        wanted = frozenset(options.modalities)
        if unknown := wanted - {"keyframes", "motion", "mask", "residual", "present", "difference", "differs"}:
            raise ValueError(f"a bitstream has no {', '.join(sorted(unknown))}")
        bitstream = BitstreamOptions(
            short_side=options.short_side or BitstreamOptions.short_side,
            motion=not wanted.isdisjoint({"motion", "mask"}),
            residual="residual" in wanted,
            difference="difference" in wanted,
            joined=options.joined,
        )
        self._steps = (bitstream.anchor_every - 1) * options.joined
        self._reader = BitstreamReader(
            path, bitstream, threads=options.threads, max_pixels=options.max_pixels, max_damage=options.max_damage
        )
        width, height = self._reader.coded_size
        columns, rows = grid_size(width, height)
        half = -(-height // 2), -(-width // 2)
        layout: Layout = {
            "motion": ("f4", (self._steps, rows, columns, 2)),
            "mask": ("u1", (self._steps, rows, columns)),
            "residual": ("i2", (self._steps, *half)),
            "present": ("u1", (self._steps,)),
            "difference": ("i2", (options.joined, *half)),
            "differs": ("u1", (options.joined,)),
        }
        self.layout: Layout = {name: form for name, form in layout.items() if name in wanted}

    @property
    def info(self) -> VideoInfo:
        """What the file claims."""
        return self._reader.info

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the anchors, in pixels."""
        return self._reader.size

    def chunks(
        self, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]] | None = None, most: int | None = None
    ) -> Iterator[Frames]:
        """The selected groups, several at a time; arguments and errors as of `Reader.chunks`."""
        capacity = most or self._options.frames_per_chunk(self.size, self.layout)
        width, height = self.size
        stride = self._options.selection.stride
        used = 0
        chosen = islice(_joined(self._reader.groups(), self._options.joined), 0, None, stride)
        while groups := list(islice(chosen, capacity)):
            used += len(groups)
            shape = (capacity, height, width, 3)
            pixels = (np.empty(shape, np.uint8) if allocate is None else allocate(shape))[: len(groups)]
            np.stack([group[0].anchor for group in groups], out=pixels)
            yield Frames(
                pixels,
                np.array([group[0].anchor_s for group in groups], np.float64),
                np.array([group[0].anchor_index for group in groups], np.int64),
                self.info,
                {name: self._filled_up(name, groups) for name in self.layout},
            )
        report = self._reader.report
        notes = report.notes
        if report.vectors == "transcoded" and self.layout:
            notes = (*notes, f"motion comes from re-encoding it, not from its own bitstream ({report.codec})")
        self._report = DecodeReport(report.frames, used, report.repaired, report.duration_s, "pyav", notes)

    def close(self) -> None:
        """Let go of the file. May be called more than once."""
        self._reader.close()

    def _filled_up(self, name: str, groups: list[list[GroupOfPictures]]) -> NDArray[Any]:
        """One kind of array of several groups, of as many P-frames each."""
        kind, shape = self.layout[name]
        values = np.zeros((len(groups), *shape), kind)
        for row, joined in zip(values, groups, strict=True):
            start = 0
            for group in joined:
                count = len(group.difference) if name in ("difference", "differs") else len(group)
                row[start : start + count] = 1 if name in ("present", "differs") else getattr(group, name)
                start += count
        return values


def _joined(groups: Iterator[GroupOfPictures], count: int) -> Iterator[list[GroupOfPictures]]:
    """Consecutive groups, so many at a time; the last may be fewer."""
    while joined := list(islice(groups, count)):
        yield joined
