"""Decode in a child process, run the network, and answer for every video, whatever it was."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.files import printable
from vidcomp.inference.device import choose_device
from vidcomp.inference.memory import is_out_of_memory, trim_memory
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Timing, Window
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import Encoded, OnePass, Outcome, Strategy, UniformClips, WholeVideo, finish
from vidcomp.nn.compressors import FeaturesError
from vidcomp.video import (
    DecodeOptions,
    DecodePool,
    DecodeReport,
    DecodeWorker,
    Frames,
    IsolatedReader,
    VideoError,
    VideoInfo,
    target_size,
)
from vidcomp.video.errors import VideoTooLarge
from vidcomp.video.limits import memory_at_hand
from vidcomp.video.reader import MAX_DAMAGE
from vidcomp.video.remote import Downloads, is_address
from vidcomp.video.sampling import count_samples
from vidcomp.video.worker.pool import default_workers
from vidcomp.video.worker.prefetch import PrefetchedReader, Prefetcher, lookahead
from vidcomp.zoo.build import LoadedModel

SEGMENT_LABELS = 20
"""Labels kept of each window: hours of video have thousands of windows."""

# Videos between two givings back of unused memory: often enough to bound it, seldom enough to cost nothing.
_TRIM_EVERY = 8
# Videos that take less than this are not asked about memory, and no pixel of a frame is held in more bytes than this.
_MODEST_BYTES = 2**30
_MOST_HELD_BYTES = 64
_NOTHING = FrameCounts(0, 0, 0, None)

OUT_OF_MEMORY = "out_of_memory"

# Where classifiers were loaded: this process, or those that it is a fork of.
_PROCESSES: set[int] = set()


def failure_of(path: str, error: Exception) -> Failure | None:
    """What an exception says of a video, as a kind and one line; None for one that nobody foresaw."""
    if isinstance(error, VideoError):
        # It may name the file that an address was fetched into.
        return Failure(error.kind, str(type(error)(path, error.reason)))
    if isinstance(error, FeaturesError):
        return Failure(error.kind, f"{printable(path)}: {error}; try precision fp32, or other weights")
    if is_out_of_memory(error):
        why = "there was not enough memory to label it; the strategy uniform8 needs less"
        return Failure(OUT_OF_MEMORY, f"{printable(path)}: {why}")
    return None


def _named(path: str | os.PathLike[str]) -> str:
    name = path if isinstance(path, str) else os.fspath(path) if isinstance(path, os.PathLike) else None
    if not isinstance(name, str):
        raise TypeError(f"path={path!r}: a video is named by a str or a pathlib.Path, not by {type(path).__name__}")
    return name


class Classifier:
    """A model ready to label videos: ``Classifier(load_model(name)).classify(path)``.

    Use it as a context manager, or call :meth:`close`, to end the decoding processes; they end with the program anyway.

    Threads may share one: they take turns. Processes may not: in a forked child its methods raise RuntimeError, as they
    do once it is closed. Others may borrow its decoding processes, which are in :attr:`pool`.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        device: str | torch.device | None = "auto",
        strategy: Strategy | None = None,
        decode_timeout_s: float | None = None,
        decode_workers: int | None = None,
        precision: str = "auto",
        batch: int | None = None,
        allow_urls: bool = False,
        max_damage: float = MAX_DAMAGE,
    ) -> None:
        """Put the model on its device.

        Args:
            model: network, labels and manifest.
            device: ``auto`` (or None), ``cpu``, ``cuda`` or a certain GPU, as ``cuda:1``.
            strategy: how to pass a video; by default whole, or as uniform clips above the manifest's ``max_frames``.
            decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
            decode_workers: processes that decode the next videos meanwhile; by default one for every two cores.
            precision: as :func:`~vidcomp.inference.device.choose_precision` takes it.
            batch: videos that may go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.
            allow_urls: fetch videos that are named by a web address; without it they are files that are missing.
            max_damage: share of a video's frames, 0 to 1, that may come damaged or not at all before it is an error.

        Raises:
            ValueError: the device or the precision is not to be had, there would be no process to decode or no
                video in a batch, or ``max_damage`` is no share.
            RuntimeError: this process is a fork of one that has loaded a classifier.
        """
        for argument, value in (("decode_workers", decode_workers), ("batch", batch)):
            if value is not None and value < 1:
                raise ValueError(f"{argument} must be at least 1, not {value}")
        if _PROCESSES and os.getpid() not in _PROCESSES and torch.get_num_threads() > 1:
            # Torch's threads are gone since the fork, and work given to them would never be done.
            raise RuntimeError(
                "torch cannot compute in a fork of a process that loaded a classifier: start processes by 'spawn'"
            )
        _PROCESSES.add(os.getpid())
        if not 0 <= max_damage <= 1:
            raise ValueError(f"max_damage is a share from 0 to 1, not {max_damage}")
        self.max_damage = max_damage
        self.runner = Runner(model.network, choose_device(device), precision=precision, videos_at_once=batch)
        # Of the network as it was given nothing is kept.
        self.model = replace(model, network=self.runner.network)
        self.strategy = strategy
        self.decode_timeout_s = decode_timeout_s
        self.decode_workers = decode_workers or default_workers()
        self.pool = DecodePool()
        self._prefetcher = Prefetcher(self._open, self.pool, self.decode_workers)
        self._downloads = Downloads() if allow_urls else None
        self._since_trim = 0
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes, and throw away what was fetched. May be called more than once."""
        if os.getpid() != self._process:
            return  # a forked child's copy: all of that is still its parent's
        with self._lock:
            self._closed = True
            self._prefetcher.close()
            if self._downloads is not None:
                self._downloads.close()

    def classify(self, path: str | os.PathLike[str]) -> Prediction:
        """Label one video; what is wrong with the video is told in :attr:`Prediction.error`, never raised."""
        (prediction,) = self.finish([self.begin(path)])
        return prediction

    def begin(self, path: str | os.PathLike[str]) -> Begun | Prediction:
        """Read a video and run its head, for :meth:`finish`; or its answer, if that is all there is to do."""
        path = _named(path)
        with self._turn():
            started = time.perf_counter()
            try:
                return self._begin(path)
            except Exception as error:
                failure = failure_of(path, error)
                if failure is None:
                    raise
            finally:
                if self._downloads is not None:
                    self._downloads.drop(path)
                self._since_trim += 1
                if self._since_trim >= _TRIM_EVERY:
                    trim_memory()
                    self._since_trim = 0
            return self._failed(path, failure, time.perf_counter() - started)

    def finish(self, videos: Sequence[Begun | Prediction]) -> list[Prediction]:
        """Label videos that were begun, those of equal shape together; what is a prediction already stays so."""
        begun = [video for video in videos if isinstance(video, Begun)]
        with self._turn():
            finished = iter(self._finish(begun) if begun else [])
        return [next(finished) if isinstance(video, Begun) else video for video in videos]

    def wants_more(self, videos: Sequence[Begun | Prediction]) -> bool:
        """Whether it pays, and memory allows, to begin another video before these are finished."""
        begun = [video.encoded.features for video in videos if isinstance(video, Begun)]
        return len(videos) < self.runner.videos_at_once.most and self.runner.has_room_beside(begun)

    def failure(self, path: str, failure: Failure, spent_s: float) -> Prediction:
        """The answer for a video that got no labels, after so many seconds."""
        name = (self.strategy or WholeVideo()).name
        return Prediction(path, self.model.manifest.name, name, (), _NOTHING, Timing(spent_s, 0.0), error=failure)

    def expect(self, path: str | os.PathLike[str]) -> None:
        """Say that :meth:`classify` will be asked for this video: it is decoded ahead, in the order of expectation.

        Call it up to :attr:`depth` videos early. A video that is classified before others that were expected earlier
        means that those are not wanted any more.
        """
        self._check_usable()
        self._prefetcher.expect(_named(path))

    def forget(self, path: str) -> None:
        """Take :meth:`expect` back: the frames decoded so far are let go."""
        self._prefetcher.forget(path)
        if self._downloads is not None:
            self._downloads.drop(path)

    @property
    def depth(self) -> int:
        """How many videos early it pays to :meth:`expect` one; so many are held in memory, at 32 MiB each or less."""
        return 2 * self.decode_workers - 1

    def classify_all(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction]:
        """Label videos in order, the next ones being decoded meanwhile; nothing is kept of those that are done.

        Raises:
            TypeError: ``paths`` is a single path.
        """
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError(f"classify_all takes several paths; for one, call classify({paths!r})")
        self._check_usable()
        return self._classified(paths)

    def _classified(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction]:
        begun: list[Begun | Prediction] = []
        with closing(lookahead(self._expecting(paths), self.depth, self.forget)) as drawn:
            for path in drawn:
                begun.append(self.begin(path))
                if not self.wants_more(begun):
                    yield from self.finish(begun)
                    begun.clear()
            yield from self.finish(begun)

    def _expecting(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
        for path in paths:
            self.expect(path)
            yield _named(path)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Within this the network and the decoding process are one thread's."""
        # Before the lock: in a forked child it may be held by a thread that only the parent has.
        self._check_usable()
        with self._lock:
            self._check_usable()
            yield

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this classifier was loaded in process {self._process}, and a fork of it cannot be used: "
                "load it again in each process, and start processes by 'spawn'"
            )
        if self._closed:
            raise RuntimeError("this classifier is closed; load it again")

    def _begin(self, path: str) -> Begun | Prediction:
        began = time.perf_counter()
        held = self._prefetcher.take(path)
        try:
            if held is not None:
                return self._pass(path, replace(held.wait_until_open(), reader=held), began)
            with self.pool.worker() as worker:
                return self._pass(path, self._open(worker, path), began)
        except _MoreThanClaimed:
            began = time.perf_counter()
        finally:
            if held is not None:
                held.close()
        with self.pool.worker() as worker:
            return self._pass(path, self._open_counted(worker, self._local(path), too_long=True), began)

    def _open(self, worker: DecodeWorker, path: str) -> Opened:
        """Open a video for the strategy asked for, or else whole, unless it claims too many frames for that."""
        path = self._local(path)
        if self.strategy is not None:
            return self._open_for(worker, path, self.strategy)
        opened = self._open_for(worker, path, WholeVideo(), self.model.manifest.max_frames)
        if self._expected(opened.reader.info) <= self.model.manifest.max_frames:
            return opened
        opened.reader.close()
        return self._open_counted(worker, path)

    def _local(self, path: str) -> str:
        """The file to open: what was fetched from there, if it is an address."""
        return self._downloads.local(path) if self._downloads is not None and is_address(path) else path

    def _open_counted(self, worker: DecodeWorker, path: str, *, too_long: bool = False) -> Opened:
        """Open a video whose header may claim too much or too little: its frames are counted."""
        count = worker.count(path, self.model.spec.fps, timeout_s=self.decode_timeout_s)
        too_long = too_long or count > self.model.manifest.max_frames
        return self._open_for(worker, path, UniformClips() if too_long else WholeVideo(), count=count)

    def _open_for(
        self, worker: DecodeWorker, path: str, strategy: Strategy, limit: int | None = None, count: int | None = None
    ) -> Opened:
        """Open a video for a strategy; ``count`` is how many frames it has, where they were counted already."""
        spec = self.model.spec
        if not strategy.needs_count:
            count = 0
        elif count is None:
            count = worker.count(path, spec.fps, timeout_s=self.decode_timeout_s)
        options = DecodeOptions(
            spec.short_side,
            strategy.select(spec, count),
            chunk_frames=self.runner.chunk_frames,
            max_damage=self.max_damage,
        )
        return Opened(strategy, count, worker.open(path, options, timeout_s=self.decode_timeout_s), limit)

    def _expected(self, info: VideoInfo) -> int:
        """How many frames a video claims to have, in samples if the model asks for so many a second."""
        return count_samples(info.expected_frames or 0, info.fps, self.model.spec.fps)

    def _pass(self, path: str, opened: Opened, began: float) -> Begun | Prediction:
        """Pass an open video as far as it goes alone; ``began`` is when its turn came, since when it was waited for."""
        strategy = opened.strategy
        with opened.reader as reader:
            self._check_memory(path, strategy, opened.count, reader.info)
            waiting = _Clock(reader.chunks(), opened.limit, time.perf_counter() - began)
            result: Encoded | Outcome
            if isinstance(strategy, OnePass):
                result = strategy.encode(self.runner, waiting)
            else:
                result = strategy.run(self.runner, waiting, opened.count)
                self.runner.synchronise()
            report = reader.report
            # Where only some of the frames were read, they may end before the video does.
            duration_s = max(report.duration_s, opened.count / (self.model.spec.fps or reader.info.fps))
            if isinstance(result, Outcome):
                result = result.until(reader.info.start_s + duration_s)
        spent = time.perf_counter() - began
        timing = Timing(waiting.seconds, spent - waiting.seconds, reader.decode_s / self.decode_workers)
        facts = (path, strategy.name, report, duration_s, reader.info.start_s, timing, tuple(report.notes))
        return Begun(*facts, result) if isinstance(result, Encoded) else self._prediction(_Read(*facts), result)

    def _check_memory(self, path: str, strategy: Strategy, count: int, info: VideoInfo) -> None:
        """Refuse a video, long or of wide pictures, for which the host's memory does not suffice: it would kill us all.

        A GPU refuses memory by itself, and nothing dies of it.

        Raises:
            VideoTooLarge: it does not suffice.
        """
        if self.runner.device.type != "cpu":
            return
        spec = self.model.spec
        width, height = target_size(info.width, info.height, spec.short_side)
        selection = strategy.select(spec, count)
        frames = len(selection.indices or ()) or -(-self._expected(info) // selection.stride)
        head = self.runner.head_bytes(width, height)
        # Most videos are far from any limit, and nothing is measured for them.
        if head + frames * width * height * _MOST_HELD_BYTES < _MODEST_BYTES:
            return
        needed = head + strategy.bytes_held(self.runner, frames, info.fps, width * height)
        at_hand = memory_at_hand()
        if at_hand is not None and needed > max(at_hand, _MODEST_BYTES):
            takes, left = f"{needed / 2**30:.1f} GiB", f"{at_hand / 2**30:.1f} GiB"
            what = f"{frames} pictures of {info.width}×{info.height} pixels, scaled to {width}×{height}"
            raise VideoTooLarge(path, f"{what}, take {takes} of memory, and {left} are left; crop it, or cut it up")

    def _finish(self, videos: Sequence[Begun]) -> list[Prediction]:
        started = time.perf_counter()
        try:
            outcomes = finish(self.runner, [video.encoded for video in videos])
            self.runner.synchronise()
        except Exception as error:
            failure = failure_of(videos[0].path, error)
            if failure is None:
                raise
        else:
            share = (time.perf_counter() - started) / len(videos)
            return [self._prediction(video, outcome, share) for video, outcome in zip(videos, outcomes, strict=True)]
        if len(videos) > 1:
            # It is one video's fault: which one's shows when each is alone.
            return [prediction for video in videos for prediction in self._finish([video])]
        spent = videos[0].timing.decode_s + videos[0].timing.model_s + time.perf_counter() - started
        return [self._failed(videos[0].path, failure, spent)]

    def _failed(self, path: str, failure: Failure, spent_s: float) -> Prediction:
        """The answer for a video on which an exception was raised, and is gone: it holds no memory any more."""
        if failure.kind == OUT_OF_MEMORY:
            trim_memory()
        return self.failure(path, failure, spent_s)

    def _prediction(self, video: _Read, outcome: Outcome, share_s: float = 0.0) -> Prediction:
        """The answer for a video; ``share_s`` is its part of what was done for several together."""
        report, passes = video.report, outcome.passes
        used = passes.count * passes.frames if outcome.frames_used is None else outcome.frames_used
        return Prediction(
            video.path,
            self.model.manifest.name,
            video.strategy,
            self._labels(outcome.probabilities),
            FrameCounts(report.decoded, used, report.repaired, video.duration_s, video.start_s),
            replace(video.timing, model_s=video.timing.model_s + share_s),
            passes,
            outcome.attention,
            (*video.notes, *outcome.notes),
            windows=tuple(
                Window(part.start_s, part.end_s, self._labels(part.probabilities)[:SEGMENT_LABELS])
                for part in outcome.windows
            ),
        )

    def _labels(self, probabilities: NDArray[np.float64]) -> tuple[Label, ...]:
        """All labels to choose among, most probable first; equals stay in the classifier's order."""
        order = np.argsort(-probabilities, kind="stable")
        if self.model.chosen is not None:
            order = order[np.isin(order, self.model.chosen)]
            # Never zero: a label of probability 0 in float64 would need a logit hundreds below the others'.
            probabilities = probabilities / max(float(probabilities[order].sum()), np.finfo(np.float64).tiny)
        return tuple(Label(self.model.labels[i], int(i), float(probabilities[i])) for i in order)


@dataclass(frozen=True)
class Opened:
    """A video ready to be passed: by which strategy, how many frames it has if that had to be known, and its reader.

    With ``limit`` it may turn out to have more frames than are passed so, whatever it claims.
    """

    strategy: Strategy
    count: int
    reader: IsolatedReader | PrefetchedReader[Opened]
    limit: int | None = None


@dataclass(frozen=True)
class _Read:
    """A video whose frames have been read: how, how that went, and what is to be said of it."""

    path: str
    strategy: str
    report: DecodeReport
    duration_s: float
    start_s: float
    timing: Timing
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Begun(_Read):
    """A video whose frames have passed the head; :meth:`Classifier.finish` does the rest."""

    encoded: Encoded


class _MoreThanClaimed(Exception):  # noqa: N818 - a turn, not an error
    """The video has more frames than it claims, and than are passed whole."""


class _Clock:
    """Passes chunks on, adds up the time spent waiting for them, and stops a video that is longer than it claimed."""

    def __init__(self, chunks: Iterable[Frames], limit: int | None, waited_s: float) -> None:
        self.passed = 0
        self.chunks = iter(chunks)
        self.limit = limit
        self.seconds = waited_s

    def __iter__(self) -> Iterator[Frames]:
        while True:
            before = time.perf_counter()
            chunk = next(self.chunks, None)
            self.seconds += time.perf_counter() - before
            if chunk is None:
                return
            self.passed += len(chunk)
            # Frames of a slow video may be sampled many times: their numbers alone do not tell how long it is.
            if self.limit is not None and max(self.passed, int(chunk.indices[-1]) + 1) > self.limit:
                raise _MoreThanClaimed
            yield chunk
