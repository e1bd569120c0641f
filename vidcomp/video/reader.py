"""A file becomes frames: the one interface to decoding, and the rule for which decoder reads what."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import decord
from vidcomp.video.container import MAX_PIXELS, check_scaled
from vidcomp.video.damage import MAX_DAMAGE, Backend, check_damage, notes_on
from vidcomp.video.errors import DecodeFailed, VideoError, VideoTruncated
from vidcomp.video.frames import Damage, DecodeReport, Frames, Interpolation, Layout, VideoInfo
from vidcomp.video.keyframes import KeyFrameReader
from vidcomp.video.pyav import Picture, PyAVReader
from vidcomp.video.sampling import WHOLE, Selection

if TYPE_CHECKING:
    from vidcomp.video.groups import GroupReader

DecoderName = Literal["auto", "decord", "pyav"]

MAX_CHUNK_BYTES = 8 * 1024 * 1024
"""Pixels of one chunk, in bytes: a chunk holds fewer frames rather than more than this (but always one)."""


def check_decoder(name: str) -> None:
    """Raise ValueError if there is no decoder of that name."""
    if name not in get_args(DecoderName):
        raise ValueError(f"decoder must be one of {', '.join(get_args(DecoderName))}, got {name!r}")


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode.

    `short_side`: pixels of the shorter side, None for the source's size. `selection`: which frames to
    keep. `chunk_frames`: most frames in one chunk. `threads`: of the decoder; one by default, because several videos
    are decoded side by side, and threads may make the concealing of damage depend on timing; 0 takes all cores.
    `max_pixels`: larger pictures are refused, before and after scaling. `max_damage`: the share,
    0 to 1, of the coded frames read that may come damaged or not at all. `decoder`: see `Reader`. `modalities`: RGB
    frames, or what of the bitstream is wanted: see `vidcomp.video.groups`; so many groups of it are `joined` to one.
    `interpolation`: how pictures are scaled; `area` is PyAV's alone, and never that of a bitstream.
    """

    short_side: int | None = None
    selection: Selection = WHOLE
    decoder: DecoderName = "auto"
    chunk_frames: int = 32
    threads: int = 1
    max_pixels: int = MAX_PIXELS
    max_damage: float = MAX_DAMAGE
    modalities: tuple[str, ...] = ("rgb",)
    joined: int = 1
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        check_decoder(self.decoder)
        if self.short_side is not None and self.short_side < 1:
            raise ValueError(f"short_side must be at least 1 pixel, got {self.short_side}")
        if self.chunk_frames < 1 or self.threads < 0 or self.max_pixels < 1:
            raise ValueError(f"chunk_frames and max_pixels must be at least 1, threads at least 0: {self}")
        if not 0 <= self.max_damage <= 1:
            raise ValueError(f"max_damage is a share from 0 to 1, got {self.max_damage}")

    def frames_per_chunk(self, size: tuple[int, int], layout: Layout | None = None) -> int:
        """Frames in a full chunk of pictures of `size` (width, height), and of what `layout` says lies beside them."""
        beside = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in (layout or {}).values())
        return max(1, min(self.chunk_frames, MAX_CHUNK_BYTES // (3 * size[0] * size[1] + beside)))


DEFAULTS = DecodeOptions()


def open_reader(path: str, options: DecodeOptions = DEFAULTS) -> Reader | GroupReader:
    """Open a video in this process. For files that cannot be trusted, see `vidcomp.video.worker.worker`.

    Raises:
        VideoError: of the class that says why no frame can be read.
    """
    from vidcomp.video.groups import GroupReader

    return Reader(path, options) if options.modalities == ("rgb",) else GroupReader(path, options)


Report = TypeVar("Report")
AnyReader = TypeVar("AnyReader", bound="ReaderBase[Any]")


class ReaderBase(ABC, Generic[Report]):
    """A video that is read forward only, with a report at its end; to be closed, or left as a context."""

    _report: Report | None = None

    @property
    def report(self) -> Report:
        """How it went; raises RuntimeError before the video was read to its end."""
        if self._report is None:
            raise RuntimeError("the report is there once all was read")
        return self._report

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. May be called more than once."""

    def __enter__(self: AnyReader) -> AnyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
