"""Decode in a child process, run the network, and answer for every video, whatever it was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.allocator import give_back
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Segment, Timing
from vidcomp.inference.runner import Runner, choose_device
from vidcomp.inference.strategies import Strategy, UniformClips, WholeVideo
from vidcomp.nn.compressors import FeaturesError
from vidcomp.video import DecodeOptions, DecodeWorker, Frames, IsolatedReader, VideoError
from vidcomp.zoo.build import LoadedModel

SEGMENT_LABELS = 20
"""Labels kept of each window: hours of video have thousands of windows."""

# Videos between two givings back of unused memory: often enough to bound it, seldom enough to cost nothing.
_TRIM_EVERY = 8
_NOTHING = FrameCounts(0, 0, 0, None)


class Classifier:
    """A model ready to label videos: ``Classifier(load_model(name)).classify(path)``.

    Use it as a context manager, or call :meth:`close`, to end the decoding process; it ends with the program anyway.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        device: str = "auto",
        strategy: Strategy | None = None,
        decode_timeout_s: float | None = None,
    ) -> None:
        """Put the model on its device.

        Args:
            model: network, labels and manifest.
            device: ``auto``, ``cpu`` or ``cuda``.
            strategy: how to pass a video; by default whole, or as uniform clips above the manifest's ``max_frames``.
            decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.

        Raises:
            ValueError: the device is not to be had.
        """
        self.model = model
        self.runner = Runner(model.network, choose_device(device))
        self.strategy = strategy
        self.decode_timeout_s = decode_timeout_s
        self._worker = DecodeWorker()
        self._since_trim = 0

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding process."""
        self._worker.close()

    def classify(self, path: str) -> Prediction:
        """Label one video; what is wrong with the video is told in :attr:`Prediction.error`, never raised."""
        started = time.perf_counter()
        try:
            return self._classify(path)
        except (VideoError, FeaturesError) as error:
            return self.failure(path, Failure(error.kind, str(error)), time.perf_counter() - started)
        finally:
            self._since_trim += 1
            if self._since_trim >= _TRIM_EVERY:
                give_back()
                self._since_trim = 0

    def failure(self, path: str, failure: Failure, spent_s: float) -> Prediction:
        """The answer for a video that got no labels, after so many seconds."""
        name = (self.strategy or WholeVideo()).name
        return Prediction(path, self.model.manifest.name, name, (), _NOTHING, Timing(spent_s, 0.0), error=failure)

    def classify_all(self, paths: Iterable[str]) -> Iterator[Prediction]:
        """Label videos one after the other, in order; nothing is kept of those that are done."""
        for path in paths:
            yield self.classify(path)

    def _classify(self, path: str) -> Prediction:
        if self.strategy is not None:
            return self._pass(path, self.strategy)
        limit = self.model.manifest.max_frames
        try:
            return self._pass(path, WholeVideo(), limit)
        except _TooLong:
            # A header may claim too much, but then the count tells.
            return self._pass(path, WholeVideo() if self._counted(path) <= limit else UniformClips())

    def _pass(self, path: str, strategy: Strategy, limit: int | None = None) -> Prediction:
        """Label a video by one strategy; raises _TooLong if it claims or has more than ``limit`` frames."""
        started = time.perf_counter()
        with ExitStack() as stack:
            count = self._counted(path) if strategy.needs_count else 0
            reader = stack.enter_context(self._reader(path, strategy, count))
            if limit is not None and (reader.info.expected_frames or 0) > limit:
                raise _TooLong
            waiting = _Clock(reader.chunks(), limit)
            outcome = strategy.run(self.runner, waiting, count)
            self.runner.synchronise()
            report = reader.report
        spent = time.perf_counter() - started
        return Prediction(
            path,
            self.model.manifest.name,
            strategy.name,
            self._labels(outcome.probabilities),
            FrameCounts(
                report.decoded, outcome.passes.count * outcome.passes.frames, report.repaired, report.duration_s
            ),
            Timing(waiting.seconds, spent - waiting.seconds),
            outcome.passes,
            outcome.attention,
            (*report.notes, *outcome.notes),
            segments=tuple(
                Segment(part.start_s, part.end_s, self._labels(part.probabilities)[:SEGMENT_LABELS])
                for part in outcome.windows
            ),
        )

    def _counted(self, path: str) -> int:
        info = self._worker.probe(path, timeout_s=self.decode_timeout_s)
        return max(1, info.frame_count or 0)

    def _reader(self, path: str, strategy: Strategy, count: int) -> IsolatedReader:
        spec = self.model.spec
        options = DecodeOptions(spec.short_side, strategy.select(spec, count), chunk_frames=self.runner.chunk_frames)
        return self._worker.open(path, options, timeout_s=self.decode_timeout_s)

    def _labels(self, probabilities: NDArray[np.float64]) -> tuple[Label, ...]:
        """All labels, most probable first; equals stay in the classifier's order."""
        order = np.argsort(-probabilities, kind="stable")
        return tuple(Label(self.model.labels[i], int(i), float(probabilities[i])) for i in order)


class _TooLong(Exception):  # noqa: N818 - a turn, not an error
    """The video has more frames than are passed whole."""


class _Clock:
    """Passes chunks on, adds up the time spent waiting for them, and stops a video that is longer than it claimed."""

    def __init__(self, chunks: Iterable[Frames], limit: int | None) -> None:
        self.chunks = iter(chunks)
        self.limit = limit
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Frames]:
        while True:
            before = time.perf_counter()
            chunk = next(self.chunks, None)
            self.seconds += time.perf_counter() - before
            if chunk is None:
                return
            if self.limit is not None and chunk.indices[-1] >= self.limit:
                raise _TooLong
            yield chunk
