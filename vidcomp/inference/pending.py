"""A video between its file and its prediction: opened for the strategy that passes it, read, and encoded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.prediction import Timing
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import Encoded, KeyFrames, OnePass, Outcome, Strategy, UniformClips, WholeVideo
from vidcomp.inference.windows import Stretches
from vidcomp.memory import memory_at_hand
from vidcomp.video import (
    DecodeOptions,
    DecodeReport,
    DecodeWorker,
    Frames,
    VideoInfo,
    target_size,
)
from vidcomp.video.errors import VideoTooLarge
from vidcomp.video.frames import MAX_DAMAGE, DecoderName
from vidcomp.video.memory import FramesInMemory
from vidcomp.video.sampling import count_samples, whole
from vidcomp.video.worker.prefetch import AnyReader

# Videos that take less than this are not asked about memory, and no pixel of a frame is held in more bytes than this.
MODEST_BYTES = 2**30
_MOST_HELD_BYTES = 64


# Blocks of a picture count as alike if their mean gray levels are this near: rounding and an encoder's noise.
_ALIKE = 4.0
_BLOCK = 8


class MoreThanClaimed(Exception):  # noqa: N818 - a turn, not an error
    """The video has more frames than it claims, and than are passed whole."""


class Variety:
    """What changes in a video: of one that stands still, or shows one color throughout, a label says nothing."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._first: NDArray[np.float32] | None = None
        self._frames = 0
        self._still = self._plain = True

    def see(self, pixels: NDArray[np.uint8]) -> None:
        """Take frames (T, H, W, 3) into account, by the means of their blocks of every other pixel."""
        self._frames += len(pixels)
        if not (self._still or self._plain):
            return
        blocks = _blocks(pixels)
        if self._first is None:
            self._first = blocks[0]
        self._still = self._still and bool((np.abs(blocks - self._first) <= _ALIKE).all())
        spread = blocks.max(axis=(0, 1, 2)) - blocks.min(axis=(0, 1, 2))
        self._plain = self._plain and self._still and bool((spread <= _ALIKE).all())

    def notes(self) -> tuple[str, ...]:
        """What to say of it, if anything."""
        if self._first is None or self._frames < 2 or not self._still:
            return ()
        what = "one plain color" if self._plain else "a still picture"
        return (f"it shows {what} throughout: there is no action to be seen, whatever the label",)


def _blocks(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean colors of the blocks of frames (T, H, W, 3), of every other pixel; edges that fill no block are left out."""
    side = max(1, min(_BLOCK, *pixels.shape[1:3]))
    height, width = pixels.shape[1] // side, pixels.shape[2] // side
    whole = pixels[:, : height * side, : width * side].reshape(len(pixels), height, side, width, side, 3)
    means: NDArray[np.float32] = whole[:, :, ::2, :, ::2].mean(axis=(2, 4), dtype=np.float32)
    return means


@dataclass(kw_only=True, eq=False)
class PendingVideo:
    """A video on its way; what is not known yet is None.

    ``frame_count`` is how many frames (or samples) it has, 0 where its strategy need not know. With ``most_frames`` it
    may turn out to have more frames than are passed so, whatever it claims. ``notes`` are said before all others.
    """

    path: str
    strategy: Strategy
    reader: AnyReader
    frame_count: int = 0
    most_frames: int | None = None
    timing: Timing = field(default_factory=lambda: Timing(0.0, 0.0))
    report: DecodeReport | None = None
    duration_s: float = 0.0
    encoded: Encoded | None = None
    outcome: Outcome | None = None
    notes: tuple[str, ...] = ()

    @property
    def info(self) -> VideoInfo:
        """What the file claims."""
        return self.reader.info

    def encode(self, runner: Runner, began: float) -> None:
        """Pass the video as far as it goes alone; ``began`` is when its turn came, since when it was waited for.

        Raises:
            MoreThanClaimed: it is longer than is passed so.
            VideoError, FeaturesError: it cannot be read; the network made NaN or infinity of it.
        """
        with self.reader as reader:
            self.timing = Timing(time.perf_counter() - began, 0.0)
            chunks = self._chunks(reader)
            if isinstance(self.strategy, OnePass):
                self.encoded = self.strategy.encode(runner, chunks)
            else:
                self.outcome = self.strategy.run(runner, chunks, self.frame_count)
                runner.synchronize()
            self.report = reader.report
        # Where only some of the frames were read, they may end before the video does.
        rate = runner.spec.fps or self.info.fps
        self.duration_s = max(self.report.duration_s, self.frame_count / rate)
        if self.outcome is not None:
            self.outcome = self.outcome.until(self.info.start_s + self.duration_s)
        spent_s = time.perf_counter() - began
        self.timing = Timing(self.timing.decode_s, spent_s - self.timing.decode_s, reader.decode_s)

    def _chunks(self, reader: AnyReader) -> Iterator[Frames]:
        """The frames; the time spent waiting for them is noted, and a video longer than it claimed is stopped."""
        passed = 0
        variety = Variety()
        chunks = reader.chunks()
        while True:
            before = time.perf_counter()
            chunk = next(chunks, None)
            waited_s = self.timing.decode_s + time.perf_counter() - before
            self.timing = replace(self.timing, decode_s=waited_s)
            if chunk is None:
                self.notes += variety.notes()
                return
            if chunk.beside is None:  # the anchors of a bitstream do not tell what moves between them
                variety.see(chunk.pixels)
            passed += len(chunk)
            # Frames of a slow video may be sampled many times: their numbers alone do not tell how long it is.
            if self.most_frames is not None and max(passed, int(chunk.indices[-1]) + 1) > self.most_frames:
                raise MoreThanClaimed
            yield chunk


@dataclass(frozen=True, kw_only=True)
class VideoOpener:
    """Opens videos for the strategy that passes them: the one asked for, or else whole, or as clips if they are long.

    ``max_frames`` is how many frames (or samples) may be passed whole where no strategy was asked for; of longer videos
    all frames are passed, in stretches, where their ``moments`` are wanted.
    """

    runner: Runner
    strategy: Strategy | None
    max_frames: int
    moments: bool = False
    timeout_s: float | None = None
    max_damage: float = MAX_DAMAGE
    decoder: DecoderName = "auto"

    def open(self, worker: DecodeWorker | FramesInMemory, path: str) -> PendingVideo:
        """Open a video; one that claims too many frames to be passed whole is counted first.

        Raises:
            VideoError: it cannot be read, or would take more memory than there is.
        """
        if self._of_groups:
            return self._open_groups(worker, path)
        if self.strategy is not None or self.runner.spec.fixed_length:
            return self._open_for(worker, path, self.strategy or WholeVideo())
        video = self._open_for(worker, path, WholeVideo(), most_frames=self.max_frames)
        if self._claimed(video.info) <= self.max_frames:
            return video
        video.reader.close()
        return self.open_counted(worker, path)

    def open_counted(self, worker: DecodeWorker | FramesInMemory, path: str, *, too_long: bool = False) -> PendingVideo:
        """Open a video whose header may claim too much or too little, or is known to be ``too_long`` to be whole."""
        count = worker.count(path, self.runner.spec.fps, timeout_s=self.timeout_s)
        strategy: Strategy = WholeVideo()
        if too_long or count > self.max_frames:
            strategy = Stretches(self.max_frames) if self.moments else UniformClips()
        return self._open_for(worker, path, strategy, count=count)

    def _open_for(
        self,
        worker: DecodeWorker | FramesInMemory,
        path: str,
        strategy: Strategy,
        *,
        count: int | None = None,
        most_frames: int | None = None,
    ) -> PendingVideo:
        spec = self.runner.spec
        if not strategy.must_count(spec):
            count = 0
        elif count is None:
            count = worker.count(path, spec.fps, timeout_s=self.timeout_s)
        options = DecodeOptions(
            spec.short_side,
            strategy.select(spec, count),
            chunk_frames=self.runner.chunk_frames,
            max_damage=self.max_damage,
            decoder=self.decoder,
            interpolation=spec.interpolation,
        )
        reader = worker.open(path, options, timeout_s=self.timeout_s)
        return PendingVideo(path=path, strategy=strategy, frame_count=count, most_frames=most_frames, reader=reader)

    @property
    def _of_groups(self) -> bool:
        return self.runner.spec.modalities != ("rgb",)

    def _open_groups(self, worker: DecodeWorker | FramesInMemory, path: str) -> PendingVideo:
        """Open a video for a model of its bitstream: whole, but not every group of a long one."""
        spec = self.runner.spec
        options = DecodeOptions(
            spec.short_side,
            chunk_frames=self.runner.chunk_frames,
            max_damage=self.max_damage,
            modalities=spec.modalities,
            joined=spec.stride,
        )
        reader = worker.open(path, options, timeout_s=self.timeout_s)
        claimed = reader.info.expected_frames
        notes: tuple[str, ...] = ()
        if claimed is None or claimed > self.max_frames:
            reader.close()
            claimed = worker.count(path, timeout_s=self.timeout_s)
            stride = -(-claimed // self.max_frames)
            reader = worker.open(path, replace(options, selection=whole(stride)), timeout_s=self.timeout_s)
            if stride > 1:
                notes = (f"it has {claimed} frames: only one group of pictures in {stride} was looked at",)
        return PendingVideo(path=path, strategy=self.strategy or WholeVideo(), reader=reader, notes=notes)

    def _claimed(self, info: VideoInfo) -> int:
        """How many frames a video claims to have, in samples if the model asks for so many a second."""
        return count_samples(info.expected_frames or 0, info.fps, self.runner.spec.fps)

    def check_memory(self, video: PendingVideo) -> None:
        """Refuse a video, long or of wide pictures, for which the host's memory does not suffice: it would kill us all.

        A GPU refuses memory by itself, and nothing dies of it.

        Raises:
            VideoTooLarge: it does not suffice.
        """
        # Of groups of pictures and of key frames there are few.
        if self.runner.device.type != "cpu" or self._of_groups or isinstance(video.strategy, KeyFrames):
            return
        spec, info = self.runner.spec, video.info
        width, height = target_size(info.width, info.height, spec.short_side)
        selection = video.strategy.select(spec, video.frame_count)
        frames = len(selection.indices or ()) or -(-self._claimed(info) // selection.stride)
        head = self.runner.head_bytes(width, height)
        # Most videos are far from any limit, and nothing is measured for them.
        if head + frames * width * height * _MOST_HELD_BYTES < MODEST_BYTES:
            return
        needed = head + video.strategy.bytes_held(self.runner, frames, info.fps, width * height)
        at_hand = memory_at_hand()
        if at_hand is not None and needed > max(at_hand, MODEST_BYTES):
            takes, left = f"{needed / 2**30:.1f} GiB", f"{at_hand / 2**30:.1f} GiB"
            what = f"{frames} pictures of {info.width}×{info.height} pixels, scaled to {width}×{height}"
            raise VideoTooLarge(
                video.path, f"{what}, take {takes} of memory, and {left} are free; crop it, or split it"
            )
