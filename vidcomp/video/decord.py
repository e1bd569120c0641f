"""Frames by decord: only for the kinds of files on which it was found to be exact."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.container import Decoding, open_container, scan
from vidcomp.video.errors import DecodeFailed
from vidcomp.video.frames import Damage, VideoInfo, target_size
from vidcomp.video.orientation import orientation_of
from vidcomp.video.pyav import Clock, Picture
from vidcomp.video.sampling import Selection
from vidcomp.video.streams import info_of, video_stream

# decord2 3.4 gave the same frames as PyAV, at the same times, in every file of these kinds: `benchmarks.decoders` makes
# the table. Elsewhere it refuses (MPEG-TS, raw streams), or is wrong in silence (edit lists, mirrored pictures, ones
# 16 pixels wide), or takes more than 1.5 times PyAV's time (MPEG-4 part 2).
_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm", "flv", "gif"})
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "gif"})
_MIN_WIDTH = 32
# Remarks of decord's scaler on files that are as they should be.
_HARMLESS = (b"[in @", b"[swscaler @")

_log: int | None = None
_only_decodes = False


def listen() -> None:
    """Let decord be heard: from now on what this process writes to standard error is kept, and nobody else sees it.

    decord conceals damage and tells nobody, but FFmpeg, within it, writes a line. This process is one that does nothing
    but decode, then: it never touches CUDA.
    """
    global _log, _only_decodes
    _only_decodes = True
    # Where the system has no way to read what another thread is writing, or no room, decord stays unheard.
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
        if hasattr(os, "pread"):
            os.dup2(file.fileno(), 2)
            _log = 2


def load() -> Any:
    """The module decord, which takes some tenths of a second, after what must be imported before it.

    That is torch, because CUDA can crash or hang otherwise, and PyAV, because decord gives its FFmpeg to whatever is
    loaded later.
    """
    if "decord" not in sys.modules:
        for name in ("av",) if _only_decodes else ("torch", "av"):
            if importlib.util.find_spec(name) is not None:
                importlib.import_module(name)
    return importlib.import_module("decord")


def available() -> bool:
    """Whether decord is installed: it has no wheels for some platforms."""
    return importlib.util.find_spec("decord") is not None


class DecordReader:
    """Forward-only decoding with decord, scaled by its decoder. It stops where FFmpeg complains of damage.

    Raises:
        DecodeFailed: decord is not installed, cannot read the file, or is known to read this kind of file wrongly.
        VideoError: the file cannot be opened at all.
    """

    name = "decord"
    notes = ()

    def __init__(self, path: str, *, short_side: int | None, threads: int, max_pixels: int) -> None:
        self._path = path
        if not available():
            raise DecodeFailed(path, "decord is not installed here; use pyav")
        with open_container(path) as container:
            stream = video_stream(path, container)
            first = Decoding(path, container, stream, max_pixels).first
            self.info: VideoInfo = info_of(path, container, stream, first)
            self._alone = len(container.streams.video) == 1
            self._turned = orientation_of(first)
        self.size = target_size(self.info.width, self.info.height, short_side)
        self._scan = scan(path)
        if reason := self._unfit():
            raise DecodeFailed(path, f"decord cannot be trusted with this file ({reason}); use pyav")
        self._video: Any = self._open(threads)
        self.clock = Clock(self.info.fps, self.info.start_s)
        self.others_end_s = self._scan.others_end_s
        self.decoded = 0
        self.repaired = 0
        self.hidden = 0

    def _unfit(self) -> str | None:
        if not _CONTAINERS & set(self.info.container.split(",")):
            return f"container {self.info.container}"
        if self.info.codec not in _CODECS:
            return f"codec {self.info.codec}"
        if not self._alone:
            return "several video streams"
        if self._turned is None or self._turned.mirrored or self._scan.turning:
            return "pictures to be flipped"
        if self._scan.shifted:
            return "an edit list hides frames"
        if self._scan.reconfigured:
            return "its parameters change midway"
        return "pictures too narrow" if min(self.info.width, *self.size) < _MIN_WIDTH else None

    def _open(self, threads: int) -> Any:
        try:
            decord = load()
        except (ImportError, OSError) as error:
            raise DecodeFailed(self._path, "decord is damaged here; use pyav") from error
        decord.logging.set_level(decord.logging.QUIET if _log is None else decord.logging.INFO)
        if _log is not None:
            os.ftruncate(_log, 0)
            os.lseek(_log, 0, os.SEEK_SET)
        width, height = self.size
        try:
            # An absolute path, no part of which can be taken for a protocol.
            absolute = os.path.abspath(self._path)  # noqa: PTH100 - links stay as they are
            return decord.VideoReader(absolute, width=width, height=height, num_threads=threads)
        except (decord.DECORDError, RuntimeError, AssertionError, UnicodeEncodeError) as error:
            raise DecodeFailed(self._path, "decord cannot open it; use pyav") from error

    def damage(self) -> Damage:
        """None: it stops at the first damaged frame."""
        return Damage()

    def pictures(self, selection: Selection, after: int = -1) -> Iterator[Picture]:
        """The selected frames beyond number `after`; those between are decoded too.

        Raises:
            DecodeFailed: decord stopped before the end, as it does at the first damaged frame.
        """
        times = [self.clock.tick(stamp) for stamp in self._scan.seconds]
        stamped = ((index, second, None) for index, second in enumerate(times))
        chosen = (frame for frame in selection.choose(stamped, 1 / self.info.fps) if frame[0] > after)
        for index, alike in groupby(chosen, key=itemgetter(0)):
            pixels = self._frame(index, len(times))
            assert pixels is not None  # only behind the last frame is there none
            for _, second, _ in alike:
                yield index, second, pixels
                if selection.number(index, second, self.info.start_s) == selection.last:
                    return
        self._frame(len(times), len(times))

    def _frame(self, index: int, promised: int) -> NDArray[np.uint8] | None:
        """The frame of that number; None at the end, up to which all is then decoded."""
        from decord import DECORDError

        width, height = self.size
        try:
            # Its own way to skip frames seeks, and open groups of pictures then lack what they refer to.
            for _ in range(index - self.decoded):
                self._video.next()
                self.decoded += 1
            pixels: NDArray[np.uint8] | None = None if index == promised else self._video.next().asnumpy()
        except (DECORDError, RuntimeError, StopIteration) as error:
            raise DecodeFailed(self._path, f"decord stopped at frame {self.decoded} of {promised}") from error
        if _complained():
            raise DecodeFailed(self._path, f"decord found damage by frame {self.decoded} of {promised}")
        if pixels is None:
            return None
        if pixels.shape != (height, width, 3):
            raise DecodeFailed(self._path, f"decord gave a picture of shape {pixels.shape}")
        self.decoded += 1
        return pixels

    def close(self) -> None:
        """Let go of the file."""
        self._video = None


def suits(selection: Selection) -> bool:
    """Whether decord is asked first: where it can be heard, and no frame is skipped, which saves it nothing."""
    return _log is not None and available() and selection.stride == 1 and selection.indices is None


def _complained() -> bool:
    """Whether FFmpeg has found fault with the file that is being read; it is ahead of the frames that are given."""
    if _log is None or not (size := os.fstat(_log).st_size):
        return False
    lines = os.pread(_log, min(size, 4096), 0).splitlines()
    return size > 4096 or any(not line.startswith(_HARMLESS) for line in lines)
