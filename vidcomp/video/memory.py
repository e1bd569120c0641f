"""Frames that are in memory already, offered as a decoding process offers those of a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.container import LONGEST_GAP_S
from vidcomp.video.frames import DecodeOptions, DecodeReport, Frames, ReaderBase, VideoInfo, target_size
from vidcomp.video.sampling import count_samples


class FramesInMemory:
    """A video of frames (T, H, W, 3), uint8 RGB, at so many a second; it opens and counts as a `DecodeWorker` does.

    Raises:
        TypeError, ValueError: the frames are of another type or shape, or there are none; ``fps`` is no rate.
    """

    def __init__(self, pixels: NDArray[np.uint8], fps: float) -> None:
        if pixels.dtype != np.uint8:
            raise TypeError(f"frames are uint8, 0 to 255, not {pixels.dtype}")
        if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape:
            turned = "; permute its axes by (0, 2, 3, 1)" if pixels.ndim == 4 and pixels.shape[1] == 3 else ""
            raise ValueError(f"frames are (T, H, W, 3), at least one of them, not {pixels.shape}{turned}")
        try:
            self.fps = float(fps)
        except (TypeError, ValueError):
            self.fps = math.nan
        if not 1 / LONGEST_GAP_S <= self.fps < math.inf:
            raise ValueError(f"fps={fps!r} is not a frame rate")
        self.pixels = np.ascontiguousarray(pixels)

    def count(self, path: str, fps: float | None = None, *, timeout_s: float | None = None) -> int:
        """How many frames there are or, with `fps`, samples."""
        return count_samples(len(self.pixels), self.fps, fps)

    def open(self, path: str, options: DecodeOptions, *, timeout_s: float | None = None) -> MemoryReader:
        """A reader of the frames that `options` select, scaled as a file's are; `path` is what they are called.

        Raises:
            ValueError: it is a bitstream that is wanted.
        """
        if options.modalities != ("rgb",):
            raise ValueError("the model reads the bitstream of files, and frames in memory have none; name a file")
        return MemoryReader(self, path, options)


class MemoryReader(ReaderBase[DecodeReport]):
    """The chosen frames of a video in memory: what `IsolatedReader` is of a file."""

    decode_s = 0.0

    def __init__(self, video: FramesInMemory, path: str, options: DecodeOptions) -> None:
        count, height, width = video.pixels.shape[:3]
        self._video = video
        self._options = options
        self.info = VideoInfo(
            path, width, height, 0, video.fps, count / video.fps, count, "rawvideo", "memory", video.pixels.nbytes
        )
        self.size = target_size(width, height, options.short_side)

    def chunks(self) -> Iterator[Frames]:
        """The selected frames, so many at a time as `DecodeOptions` say."""
        step_s = 1 / self._video.fps
        timed = ((index, index * step_s, picture) for index, picture in enumerate(self._video.pixels))
        chosen = self._options.selection.choose(timed, step_s)
        used: set[int] = set()
        while batch := list(islice(chosen, self._options.frames_per_chunk(self.size))):
            indices = [index for index, _, _ in batch]
            used.update(indices)
            yield Frames(
                np.stack([self._scaled(picture) for _, _, picture in batch]),
                np.array([second for _, second, _ in batch], np.float64),
                np.array(indices, np.int64),
                self.info,
            )
        count = len(self._video.pixels)
        self._report = DecodeReport(count, len(used), 0, count / self._video.fps, "memory")

    def close(self) -> None:
        """Nothing is held that was not there before."""

    def _scaled(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.size == (picture.shape[1], picture.shape[0]):
            return picture
        import av

        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        return np.asarray(
            frame.reformat(*self.size, "rgb24", interpolation=self._options.interpolation.upper()).to_ndarray(),
            np.uint8,
        )
