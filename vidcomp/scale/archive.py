"""An archive labeled by many actors: what is done is left out, what comes is written, and each video counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vidcomp.files import printable
from vidcomp.inference.batch import Job, RunStats, Stamp
from vidcomp.inference.prediction import Failure, Prediction
from vidcomp.scale.actor import Load
from vidcomp.scale.engine import Actors, Engine
from vidcomp.scale.listing import ListedJob
from vidcomp.scale.parts import CLAIMED, Parts
from vidcomp.video.errors import VideoCrashed

if TYPE_CHECKING:
    from vidcomp.inference.classifier import Classifier
    from vidcomp.output.run import Record

KILLED_ACTORS = (
    "it killed two processes, the second of which had no other video; it may need more memory than they have"
)


@dataclass(frozen=True)
class Recorder:
    """Makes the record of a prediction where it comes about, so that the driver has only to write it.

    ``failed`` is what a video without labels looks like.
    """

    run: str
    top_k: int
    failed: Prediction

    @classmethod
    def of(cls, classifier: Classifier, run: str, top_k: int) -> Recorder:
        """The recorder of a classifier's predictions."""
        return cls(run, top_k, classifier.failure("", Failure(VideoCrashed.kind, "")))

    def __call__(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> tuple[Record, Prediction]:
        """The record, and of the prediction what is counted and told."""
        source = {
            "root": job.root,
            "size": stamp.size if stamp else None,
            "mtime_ns": stamp.mtime_ns if stamp else None,
        }
        extra = job.extra if isinstance(job, ListedJob) else {}
        record = {**prediction.to_dict(self.top_k), "input": source, "run": self.run, **extra}
        return record, replace(
            prediction, labels=prediction.labels[:1], attention=None, windows=(), features=None, moments=None
        )

    def crashed(self, job: Job) -> tuple[Record, Prediction]:
        """The same for a video that nobody survived."""
        failure = Failure(VideoCrashed.kind, f"{printable(job.path)}: {KILLED_ACTORS}")
        return self(job, replace(self.failed, path=job.name, error=failure), None)


def label_archive(
    jobs: Iterable[ListedJob],
    parts: Parts,
    load: Load,
    stats: RunStats,
    *,
    actors: Actors,
    min_probability: float = 0.0,
    tell: Callable[[str], None] = lambda note: None,
) -> Iterator[Prediction]:
    """Label what ``parts`` does not know, on the cluster that :func:`~vidcomp.scale.engine.connect` has joined.

    Yields each prediction once ``parts`` has its record and ``stats`` counts it: its best label alone, without what
    records say of attention and windows.

    Args:
        jobs: drawn as actors take them.
        parts: where records go.
        load: makes the classifier of an actor, with a :class:`Recorder` that answers and is what it says of itself.
        stats: counts; what was known, or is named twice, is taken off its total as it comes up.
        actors: how many, and how large.
        min_probability: less probable labels are left out.
        tell: told what a user may want to know, a sentence each.

    Raises:
        OutputError: records cannot be kept, or here are those of another model.
        EngineError: actors cannot be had, or end before they answer anything.
    """
    recorders: list[Recorder] = []

    def ready(recorder: Any) -> None:
        parts.check(recorder.run)
        recorders.append(recorder)

    def todo() -> Iterator[ListedJob]:
        for job in jobs:
            before = parts.claim(job)
            if before is None:
                yield job
                continue
            stats.total -= 1
            if before is not CLAIMED:
                stats.remember(before)

    engine = Engine[ListedJob](
        load,
        lambda job: recorders[-1].crashed(job),
        actors=actors,
        ready=ready,
        min_probability=min_probability,
        tell=tell,
        meanwhile=parts.publish_if_due,
    )
    with engine:
        for _, answer in engine.run(todo()):
            if answer is None:
                stats.passed_over += 1
                continue
            record, prediction = answer
            parts.write(record)
            stats.add(prediction)
            yield prediction
        if stats.known and not recorders:
            engine.introduce()
