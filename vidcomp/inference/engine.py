"""Decode in a child process, run the network, and answer for every video, whatever it was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Timing
from vidcomp.inference.runner import Runner, choose_device
from vidcomp.inference.strategies import Outcome, Strategy, UniformClips, WholeVideo
from vidcomp.nn.compressors import FeaturesError
from vidcomp.video import DecodeOptions, DecodeWorker, Frames, IsolatedReader, VideoError
from vidcomp.zoo.build import LoadedModel

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
            spent = time.perf_counter() - started
            return Prediction(
                path,
                self.model.manifest.name,
                (self.strategy or WholeVideo()).name,
                (),
                _NOTHING,
                Timing(spent, 0.0),
                error=Failure(error.kind, str(error)),
            )

    def classify_all(self, paths: Iterable[str]) -> Iterator[Prediction]:
        """Label videos one after the other, in order; nothing is kept of those that are done."""
        for path in paths:
            yield self.classify(path)

    def _classify(self, path: str) -> Prediction:
        started = time.perf_counter()
        with ExitStack() as stack:
            strategy, count, reader = self._open(path, stack)
            waiting = _Clock(reader.chunks())
            outcome = strategy.run(self.runner, waiting, count)
            self.runner.synchronise()
            report = reader.report
        spent = time.perf_counter() - started
        return Prediction(
            path,
            self.model.manifest.name,
            strategy.name,
            self._labels(outcome),
            FrameCounts(
                report.decoded, outcome.passes.count * outcome.passes.frames, report.repaired, report.duration_s
            ),
            Timing(waiting.seconds, spent - waiting.seconds),
            outcome.passes,
            outcome.attention,
            (*report.notes, *outcome.notes),
        )

    def _open(self, path: str, stack: ExitStack) -> tuple[Strategy, int, IsolatedReader]:
        """Open a video for the strategy that fits it, and say how many frames it has where that matters."""
        strategy, count = self.strategy or WholeVideo(), 0
        if strategy.needs_count:
            count = self._counted(path)
        reader = stack.enter_context(self._reader(path, strategy, count))
        if self.strategy is None and (reader.info.expected_frames or 0) > self.model.manifest.max_frames:
            stack.close()
            strategy, count = UniformClips(), self._counted(path)
            reader = stack.enter_context(self._reader(path, strategy, count))
        return strategy, count, reader

    def _counted(self, path: str) -> int:
        info = self._worker.probe(path, timeout_s=self.decode_timeout_s)
        return max(1, info.frame_count or 0)

    def _reader(self, path: str, strategy: Strategy, count: int) -> IsolatedReader:
        spec = self.model.spec
        options = DecodeOptions(spec.short_side, strategy.select(spec, count), chunk_frames=self.runner.chunk_frames)
        return self._worker.open(path, options, timeout_s=self.decode_timeout_s)

    def _labels(self, outcome: Outcome) -> tuple[Label, ...]:
        """All labels, most probable first; equals stay in the classifier's order."""
        order = np.argsort(-outcome.probabilities, kind="stable")
        return tuple(Label(self.model.labels[i], int(i), float(outcome.probabilities[i])) for i in order)


class _Clock:
    """Passes chunks on and adds up the time spent waiting for them."""

    def __init__(self, chunks: Iterable[Frames]) -> None:
        self.chunks = iter(chunks)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Frames]:
        while True:
            before = time.perf_counter()
            chunk = next(self.chunks, None)
            self.seconds += time.perf_counter() - before
            if chunk is None:
                return
            yield chunk
