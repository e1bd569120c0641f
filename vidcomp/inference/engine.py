"""Decode in a child process, run the network, and answer for every video, whatever it was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.ahead import DecodeAhead, Opened, default_workers, drawn_ahead
from vidcomp.inference.allocator import give_back
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Segment, Timing
from vidcomp.inference.runner import Runner, choose_device
from vidcomp.inference.strategies import Encoded, OnePass, Outcome, Strategy, UniformClips, WholeVideo, finish
from vidcomp.nn.compressors import FeaturesError
from vidcomp.video import DecodeOptions, DecodeReport, DecodeWorker, Frames, VideoError
from vidcomp.video.remote import Downloads, is_address
from vidcomp.zoo.build import LoadedModel

SEGMENT_LABELS = 20
"""Labels kept of each window: hours of video have thousands of windows."""

# Videos between two givings back of unused memory: often enough to bound it, seldom enough to cost nothing.
_TRIM_EVERY = 8
_NOTHING = FrameCounts(0, 0, 0, None)


class Classifier:
    """A model ready to label videos: ``Classifier(load_model(name)).classify(path)``.

    Use it as a context manager, or call :meth:`close`, to end the decoding processes; they end with the program anyway.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        device: str = "auto",
        strategy: Strategy | None = None,
        decode_timeout_s: float | None = None,
        decode_workers: int | None = None,
        precision: str = "auto",
        batch: int | None = None,
        allow_urls: bool = False,
    ) -> None:
        """Put the model on its device.

        Args:
            model: network, labels and manifest.
            device: ``auto``, ``cpu`` or ``cuda``.
            strategy: how to pass a video; by default whole, or as uniform clips above the manifest's ``max_frames``.
            decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
            decode_workers: processes that decode the next videos meanwhile; by default one for every two cores.
            precision: as :func:`~vidcomp.inference.precision.choose_precision` takes it.
            batch: videos that may go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.
            allow_urls: fetch videos that are named by a web address; without it they are files that are missing.

        Raises:
            ValueError: the device or the precision is not to be had, or there would be no process to decode.
        """
        if decode_workers is not None and decode_workers < 1:
            raise ValueError(f"decode_workers must be at least 1, not {decode_workers}")
        self.model = model
        self.runner = Runner(model.network, choose_device(device), precision=precision, videos_at_once=batch)
        self.strategy = strategy
        self.decode_timeout_s = decode_timeout_s
        self.decode_workers = decode_workers or default_workers()
        self._worker = DecodeWorker()
        self._ahead = DecodeAhead(self._open, self.decode_workers)
        self._downloads = Downloads() if allow_urls else None
        self._since_trim = 0

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes, and throw away what was fetched."""
        self._ahead.close()
        self._worker.close()
        if self._downloads is not None:
            self._downloads.close()

    def classify(self, path: str) -> Prediction:
        """Label one video; what is wrong with the video is told in :attr:`Prediction.error`, never raised."""
        (prediction,) = self.finish([self.begin(path)])
        return prediction

    def begin(self, path: str) -> Begun | Prediction:
        """Read a video and run its head, for :meth:`finish`; or its answer, if that is all there is to do."""
        started = time.perf_counter()
        try:
            return self._begin(path)
        except VideoError as error:
            # It may name the file that an address was fetched into.
            told = type(error)(path, error.reason)
            return self.failure(path, Failure(error.kind, str(told)), time.perf_counter() - started)
        except FeaturesError as error:
            return self.failure(path, Failure(error.kind, str(error)), time.perf_counter() - started)
        finally:
            if self._downloads is not None:
                self._downloads.drop(path)
            self._since_trim += 1
            if self._since_trim >= _TRIM_EVERY:
                give_back()
                self._since_trim = 0

    def finish(self, videos: Sequence[Begun | Prediction]) -> list[Prediction]:
        """Label videos that were begun, those of equal shape together; what is a prediction already stays so."""
        begun = [video for video in videos if isinstance(video, Begun)]
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

    def expect(self, path: str) -> None:
        """Say that :meth:`classify` will be asked for this video: it is decoded ahead, in the order of expectation.

        Call it up to :attr:`depth` videos early. A video that is classified before others that were expected earlier
        means that those are not wanted any more.
        """
        self._ahead.expect(path)

    @property
    def depth(self) -> int:
        """How many videos early it pays to :meth:`expect` one; so many are held in memory, at 32 MiB each or less."""
        return 2 * self.decode_workers - 1

    def classify_all(self, paths: Iterable[str]) -> Iterator[Prediction]:
        """Label videos in order, the next ones being decoded meanwhile; nothing is kept of those that are done."""
        begun: list[Begun | Prediction] = []
        for path in drawn_ahead(self._expecting(paths), self.depth):
            begun.append(self.begin(path))
            if not self.wants_more(begun):
                yield from self.finish(begun)
                begun.clear()
        yield from self.finish(begun)

    def _expecting(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            self.expect(path)
            yield path

    def _begin(self, path: str) -> Begun | Prediction:
        began = time.perf_counter()
        held = self._ahead.take(path)
        try:
            opened = self._open(self._worker, path) if held is None else held.wait_until_open()
            return self._pass(path, opened, began)
        except _MoreThanClaimed:
            began = time.perf_counter()
            return self._pass(path, self._open_counted(self._worker, self._local(path)), began)
        finally:
            if held is not None:
                held.close()

    def _open(self, worker: DecodeWorker, path: str) -> Opened:
        """Open a video for the strategy asked for, or else whole, unless it claims too many frames for that."""
        path = self._local(path)
        if self.strategy is not None:
            return self._open_for(worker, path, self.strategy)
        opened = self._open_for(worker, path, WholeVideo(), self.model.manifest.max_frames)
        if (opened.reader.info.expected_frames or 0) <= self.model.manifest.max_frames:
            return opened
        opened.reader.close()
        return self._open_counted(worker, path)

    def _local(self, path: str) -> str:
        """The file to open: what was fetched from there, if it is an address."""
        return self._downloads.local(path) if self._downloads is not None and is_address(path) else path

    def _open_counted(self, worker: DecodeWorker, path: str) -> Opened:
        """Open a video whose header may claim too much or too little: its frames are counted."""
        count = self._counted(worker, path)
        return self._open_for(worker, path, WholeVideo() if count <= self.model.manifest.max_frames else UniformClips())

    def _open_for(self, worker: DecodeWorker, path: str, strategy: Strategy, limit: int | None = None) -> Opened:
        count = self._counted(worker, path) if strategy.needs_count else 0
        spec = self.model.spec
        options = DecodeOptions(spec.short_side, strategy.select(spec, count), chunk_frames=self.runner.chunk_frames)
        return Opened(strategy, count, worker.open(path, options, timeout_s=self.decode_timeout_s), limit)

    def _counted(self, worker: DecodeWorker, path: str) -> int:
        return max(1, worker.probe(path, timeout_s=self.decode_timeout_s).frame_count or 0)

    def _pass(self, path: str, opened: Opened, began: float) -> Begun | Prediction:
        """Pass an open video as far as it goes alone; ``began`` is when its turn came, since when it was waited for."""
        strategy = opened.strategy
        with opened.reader as reader:
            waiting = _Clock(reader.chunks(), opened.limit, time.perf_counter() - began)
            result: Encoded | Outcome
            if isinstance(strategy, OnePass):
                result = strategy.encode(self.runner, waiting)
            else:
                result = strategy.run(self.runner, waiting, opened.count)
                self.runner.synchronise()
            report = reader.report
            # Where only some of the frames were read, they may end before the video does.
            duration_s = max(report.duration_s, opened.count / reader.info.fps)
        spent = time.perf_counter() - began
        timing = Timing(waiting.seconds, spent - waiting.seconds, reader.decode_s / self.decode_workers)
        facts = (path, strategy.name, report, duration_s, reader.info.start_s, timing, tuple(report.notes))
        return Begun(*facts, result) if isinstance(result, Encoded) else self._prediction(_Read(*facts), result)

    def _finish(self, videos: Sequence[Begun]) -> list[Prediction]:
        started = time.perf_counter()
        try:
            outcomes = finish(self.runner, [video.encoded for video in videos])
            self.runner.synchronise()
        except FeaturesError as error:
            if len(videos) > 1:
                # It is one video's fault: which one's shows when each is alone.
                return [prediction for video in videos for prediction in self._finish([video])]
            spent = videos[0].timing.decode_s + videos[0].timing.model_s + time.perf_counter() - started
            return [self.failure(videos[0].path, Failure(error.kind, str(error)), spent)]
        share = (time.perf_counter() - started) / len(videos)
        return [self._prediction(video, outcome, share) for video, outcome in zip(videos, outcomes, strict=True)]

    def _prediction(self, video: _Read, outcome: Outcome, share_s: float = 0.0) -> Prediction:
        """The answer for a video; ``share_s`` is its part of what was done for several together."""
        report, passes = video.report, outcome.passes
        return Prediction(
            video.path,
            self.model.manifest.name,
            video.strategy,
            self._labels(outcome.probabilities),
            FrameCounts(report.decoded, passes.count * passes.frames, report.repaired, video.duration_s, video.start_s),
            replace(video.timing, model_s=video.timing.model_s + share_s),
            passes,
            outcome.attention,
            (*video.notes, *outcome.notes),
            segments=tuple(
                Segment(part.start_s, part.end_s, self._labels(part.probabilities)[:SEGMENT_LABELS])
                for part in outcome.windows
            ),
        )

    def _labels(self, probabilities: NDArray[np.float64]) -> tuple[Label, ...]:
        """All labels, most probable first; equals stay in the classifier's order."""
        order = np.argsort(-probabilities, kind="stable")
        return tuple(Label(self.model.labels[i], int(i), float(probabilities[i])) for i in order)


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
            if self.limit is not None and chunk.indices[-1] >= self.limit:
                raise _MoreThanClaimed
            yield chunk
