"""A file becomes frames: the one interface to decoding, and the rule for which decoder reads what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import decord
from vidcomp.video.container import check_scaled
from vidcomp.video.damage import Backend, check_damage, notes_on
from vidcomp.video.errors import DecodeFailed, VideoError, VideoTruncated
from vidcomp.video.frames import (
    DEFAULTS,
    Damage,
    DecodeOptions,
    DecodeReport,
    DecoderName,
    Frames,
    Layout,
    ReaderBase,
    VideoInfo,
)
from vidcomp.video.keyframes import KeyFrameReader
from vidcomp.video.pyav import Picture, PyAVReader

if TYPE_CHECKING:
    from vidcomp.video.groups import GroupReader


def open_reader(path: str, options: DecodeOptions = DEFAULTS) -> Reader | GroupReader:
    """Open a video in this process. For files that cannot be trusted, see `vidcomp.video.worker.worker`.

    Raises:
        VideoError: of the class that says why no frame can be read.
    """
    from vidcomp.video.groups import GroupReader

    return Reader(path, options) if options.modalities == ("rgb",) else GroupReader(path, options)


class Reader(ReaderBase[DecodeReport]):
    """The chosen frames of one video, forward only.

    `info` is what the file claims, `size` the (width, height) of the frames to come. `chunks()` may be called once;
    `report` is there when it has ended.

    Decoders: `pyav` reads everything. `decord` reads the kinds of files on which it is exact, and PyAV takes over, at
    the right frame, where it cannot open a file or finds damage. `auto` is `decord` in a decoding process, where a
    crash or hang costs one video and damage does not go unnoticed, if every frame is wanted; `pyav` elsewhere. decord
    knows bicubic scaling alone.
    """

    def __init__(self, path: str, options: DecodeOptions = DEFAULTS) -> None:
        self._path = path
        self._options = options
        self._notes: list[str] = []
        self._names: list[str] = []
        self._started = False
        only_pyav = bool(options.selection.keys) or options.interpolation != "bicubic"
        chosen: DecoderName = "pyav" if only_pyav else options.decoder
        if chosen == "auto":
            chosen = "decord" if decord.suits(options.selection) else "pyav"
        self._backend = self._open(chosen)

    @property
    def info(self) -> VideoInfo:
        """What the file claims."""
        return self._backend.info

    @property
    def layout(self) -> Layout:
        """Nothing lies beside the frames."""
        return {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, in pixels."""
        return self._backend.size

    def chunks(
        self, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]] | None = None, most: int | None = None
    ) -> Iterator[Frames]:
        """The selected frames, at most `chunk_frames` at a time, fewer where pictures are large (8 MiB per chunk).

        `allocate` gives the memory for a full chunk of a given shape (T, H, W, 3); by default each chunk has its own.
        `most` is for memory that holds fewer frames than the options allow.

        Raises:
            VideoTruncated: the video ended before the first frame asked for.
            VideoDamaged, VideoEncrypted: at the end, if more of it than `max_damage` could not be read right.
        """
        if self._started:
            raise RuntimeError("chunks() can be read once; open the file again")
        self._started = True
        width, height = self.size
        capacity = most or self._options.frames_per_chunk(self.size)
        used, last = 0, (-1, 0.0)
        pictures = self._pictures()
        while batch := list(islice(pictures, 1)):
            shape = (capacity, height, width, 3)
            pixels = np.empty(shape, np.uint8) if allocate is None else allocate(shape)
            indices: list[int] = []
            seconds: list[float] = []
            for index, second, picture in chain(batch, islice(pictures, capacity - 1)):
                pixels[len(indices)] = picture
                indices.append(index)
                seconds.append(second)
            # A frame that was sampled twice is one frame.
            used += len({last[0], *indices}) - 1
            last = indices[-1], seconds[-1]
            yield Frames(pixels[: len(indices)], np.array(seconds, np.float64), np.array(indices, np.int64), self.info)
        if not used:
            reason = f"only {self._backend.decoded} frames could be read, none of those asked for among them"
            raise VideoTruncated(self._path, reason)
        selection = self._options.selection
        complete = not selection.keys and selection.number(*last, self.info.start_s) != selection.last
        harm = check_damage(self._path, self._backend, self._options.max_damage, complete=complete)
        self._report = self._reported(harm, used, complete=complete)

    def close(self) -> None:
        """Let go of the file. May be called more than once."""
        self._backend.close()

    def _open(self, name: Literal["decord", "pyav"]) -> Backend:
        options = self._options
        pyav = partial(KeyFrameReader if options.selection.keys else PyAVReader, interpolation=options.interpolation)
        reads: Callable[..., Backend] = decord.DecordReader if name == "decord" else pyav
        try:
            backend = reads(
                self._path, short_side=options.short_side, threads=options.threads, max_pixels=options.max_pixels
            )
        except DecodeFailed as error:
            if name == "pyav":
                raise
            if options.decoder == "decord":
                self._notes.append(error.reason)
            return self._open("pyav")
        try:
            check_scaled(backend.info, backend.size, options.max_pixels)
        except VideoError:
            backend.close()
            raise
        self._names.append(name)
        return backend

    def _pictures(self) -> Iterator[Picture]:
        last = -1
        try:
            for picture in self._backend.pictures(self._options.selection):
                last = picture[0]
                yield picture
        except DecodeFailed as error:
            if self._options.decoder == "decord":
                self._notes.append(f"{error.reason}; PyAV took over")
            self._backend.close()
            self._backend = self._open("pyav")
            yield from self._backend.pictures(self._options.selection, after=last)

    def _reported(self, harm: Damage, used: int, *, complete: bool) -> DecodeReport:
        backend = self._backend
        notes = (*self._notes, *backend.notes, *notes_on(self._path, backend, harm, complete=complete))
        return DecodeReport(
            backend.decoded, used, backend.repaired, backend.clock.covered, "+".join(self._names), notes
        )
