"""Many videos, one after the other: what is done is skipped, what fails is told, and nothing stops the run."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from vidcomp.files import printable
from vidcomp.inference.prediction import Failure, Prediction, Timing
from vidcomp.video.errors import VideoCrashed

if TYPE_CHECKING:
    # Who only hands out jobs and keeps records, as the driver of a cluster, does without torch.
    from vidcomp.inference.classifier import Classifier, Unexpected

# What a file that is no video gives. Of files that only might have been videos, these are no errors.
_NO_VIDEO = frozenset({"not_video", "no_video_stream", "empty"})
KILLED_TWICE = "vidcomp was killed twice while it worked on this video, the second time on this one alone; it may "
"need more memory than there is"


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of change of a file; another file in its place has others."""

    size: int
    mtime_ns: int


def stamp_of(path: str) -> Stamp | None:
    """The stamp of a file as it is now; None where there is no file to look at."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path may hold what pathlib refuses
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Job:
    """A video to label: `path` opens it, `name` is what it is called in the results.

    `certain` is false for a file that may be anything: if it is not a video, it is skipped. `root` is the absolute
    folder that `name` is relative to; None for an address.
    """

    path: str
    name: str
    certain: bool = True
    root: str | None = None


@dataclass(frozen=True)
class Known:
    """What an earlier run said of a video: its best label, or the kind of its error."""

    label: str | None
    error: str | None


class Unwritable(Exception):  # noqa: N818 - said of a video, not of the program
    """A result cannot be kept, for a reason that lies with this video alone: the message says which."""


class Sink(Protocol):
    """Where results go, and who remembers those of earlier runs, where anybody does."""

    keeps_all_labels: ClassVar[bool] = False
    """Whether results are written with less probable labels too, which the sink keeps without showing them."""

    def known(self, job: Job, stamp: Stamp | None) -> Known | None:
        """What is known of this video as it is now; None if it is to be labeled."""
        return None

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        """Keep one result; when this returns, it survives the end of the program.

        Raises:
            Unwritable: this one cannot be kept; others can.
        """
        ...

    def pass_over(self, job: Job) -> None:
        """There is nothing to keep of this video."""
        return

    def begin(self, job: Job, stamp: Stamp | None, *, alone: bool) -> None:
        """Take note that work on this video begins, with no other in the works or with others."""
        return

    def deaths(self, job: Job, stamp: Stamp | None) -> int:
        """How often the program died while this video was worked on: 0, 1, or 2 if the last time it was alone."""
        return 0


@dataclass
class RunStats:
    """How far a run has come. `labels` and `errors` count what was known before, too; `None` is "no label"."""

    total: int
    done: int = 0
    failed: int = 0
    known: int = 0
    passed_over: int = 0
    frames: int = 0
    decoder_s: float = 0.0
    model_s: float = 0.0
    labels: Counter[str | None] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest should take at the pace so far; None before the first video is done."""
        finished = self.done + self.passed_over
        return self.elapsed_s / finished * (self.total - finished) if finished else None

    @property
    def bound(self) -> str:
        """Which side the other one waits for, by what both have cost so far: ``decode`` or ``model``."""
        return Timing(0.0, self.model_s, self.decoder_s).bottleneck

    def remember(self, known: Known) -> None:
        """Count a video of an earlier run."""
        self.known += 1
        self._count(known.label, known.error)

    def add(self, prediction: Prediction) -> None:
        """Count a video of this run."""
        self.done += 1
        self.failed += not prediction.ok
        self.frames += prediction.frames.decoded
        self.decoder_s += prediction.timing.decoder_s
        self.model_s += prediction.timing.model_s
        self._count(
            prediction.top.label if prediction.top else None, prediction.error.kind if prediction.error else None
        )

    def _count(self, label: str | None, error: str | None) -> None:
        if error is not None:
            self.errors[error] += 1
        else:
            self.labels[label] += 1


def pending(jobs: Iterable[Job], sink: Sink) -> tuple[list[Job], list[tuple[Job, Known]]]:
    """Part the jobs into those to do and those that earlier runs have done."""
    todo, known = [], []
    for job in jobs:
        before = sink.known(job, stamp_of(job.path))
        if before is None:
            todo.append(job)
        else:
            known.append((job, before))
    return todo, known


def label_all(
    classifier: Classifier,
    jobs: Iterable[Job],
    sink: Sink,
    stats: RunStats,
    *,
    min_probability: float = 0.0,
    unexpected: Unexpected = lambda error: None,
) -> Iterator[tuple[Job, Prediction]]:
    """Label one video after the other, yielding each result once `sink` has it and `stats` counts it.

    Whatever goes wrong with a video is that video's error: ``internal`` and ``out_of_memory`` stand for what nobody
    foresaw, and `unexpected` is told of the exception itself. Videos that were in the works when the program itself
    died come last, each with no other; one that it died on then, too, is ``crashed`` without another try.

    Raises:
        DecoderUnavailable: the system starts no decoding process, even after a while.
        Exception: whatever `sink` raises where a result cannot be kept.
    """
    begun: deque[tuple[Job, Stamp | None]] = deque()
    suspects: list[Job] = []

    def paths() -> Iterator[str]:
        """Each video but suspects, its file's stamp being noted before any of it is read."""
        for job in jobs:
            stamp = stamp_of(job.path)
            if sink.deaths(job, stamp):
                suspects.append(job)
                continue
            sink.begin(job, stamp, alone=False)
            begun.append((job, stamp))
            yield job.path

    def kept(predictions: Sequence[Prediction]) -> list[tuple[Job, Prediction]]:
        """Keep them all before any is yielded: whoever stops at a result has lost none."""
        results = []
        for prediction in predictions:
            job, stamp = begun.popleft()
            if not job.certain and prediction.error is not None and prediction.error.kind in _NO_VIDEO:
                sink.pass_over(job)
                stats.passed_over += 1
                continue
            every = replace(prediction, path=job.name)
            prediction = every.at_least(min_probability)
            try:
                sink.write(job, every if sink.keeps_all_labels else prediction, stamp)
            except Unwritable as error:
                prediction = replace(prediction, labels=(), windows=(), error=Failure("unwritable", str(error)))
            stats.add(prediction)
            results.append((job, prediction))
        return results

    with closing(classifier.batches(paths(), unexpected=unexpected)) as batches:
        for batch in batches:
            yield from kept(batch)
    for job in suspects:
        stamp = stamp_of(job.path)
        begun.append((job, stamp))
        if sink.deaths(job, stamp) > 1:
            yield from kept([classifier.failure(job.path, _killed_twice(job.path))])
            continue
        sink.begin(job, stamp, alone=True)
        for batch in classifier.batches([job.path], unexpected=unexpected):
            yield from kept(batch)


def _killed_twice(path: str) -> Failure:
    return Failure(
        VideoCrashed.kind,
        f"{printable(path)}: {KILLED_TWICE}, and the strategy uniform8 needs less",
    )
