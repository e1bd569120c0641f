"""The body of an actor: answers as they come, jobs taken back, an end in good order."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vidcomp.inference.batch import Job, Stamp
from vidcomp.inference.prediction import FrameCounts, Prediction, Timing
from vidcomp.scale.actor import Labeler, Loaded
from vidcomp.video.worker.prefetch import lookahead


class Fake:
    """A classifier that looks one video ahead."""

    most_begun = 2

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)

    def batches(self, paths: Iterable[str], *, unexpected: Any) -> Iterator[list[Prediction]]:
        for path in lookahead(paths, 1):
            if path == "bad":
                raise OSError("no decoder")
            self.go.acquire()
            yield [Prediction(path, "m", "s", (), FrameCounts(1, 1, 0, 1.0), Timing(0.0, 0.0))]


@pytest.fixture
def labeler() -> Iterator[tuple[Labeler, Fake]]:
    fake = Fake()

    @contextmanager
    def load() -> Iterator[Loaded]:
        yield Loaded(fake, _answer, "about")  # type: ignore[arg-type]

    yield Labeler(load, 0.0), fake
    fake.go.release(100)


def _answer(job: Job, prediction: Prediction, stamp: Stamp | None) -> str:
    return f"{job.name}: {prediction.path}"


def jobs(*names: str | None) -> list[Job | None]:
    return [None if name is None else Job(name, name) for name in names]


def taken(answers: Iterator[Any], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found += next(answers)
    return found


def test_answers_come_in_order_and_the_end_waits_for_nothing(labeler: tuple[Labeler, Fake]) -> None:
    actor, fake = labeler
    answers = actor.answers()
    assert next(answers) == (2, "about")
    fake.go.release(100)
    actor.feed(0, jobs("a", "b", "c", None))
    assert taken(answers, 3) == ["a: a", "b: b", "c: c"]
    actor.feed(1, jobs("d", None))
    assert taken(answers, 1) == ["d: d"]
    stopper = threading.Thread(target=actor.stop)
    stopper.start()
    assert list(answers) == []
    stopper.join()


def test_jobs_that_overtake_one_another_are_taken_in_their_order(labeler: tuple[Labeler, Fake]) -> None:
    actor, fake = labeler
    answers = actor.answers()
    next(answers)
    fake.go.release(100)
    for number, given in ((2, jobs(None)), (1, jobs("b", "c")), (0, jobs("a"))):
        actor.feed(number, given)
    assert taken(answers, 3) == ["a: a", "b: b", "c: c"]


def test_a_fault_of_the_machine_is_raised(labeler: tuple[Labeler, Fake]) -> None:
    actor, _ = labeler
    answers = actor.answers()
    next(answers)
    actor.feed(0, jobs("bad", None))
    with pytest.raises(OSError, match="no decoder"):
        next(answers)
    actor.stop()  # does not wait for ever


def test_a_model_that_cannot_be_loaded(labeler: tuple[Labeler, Fake]) -> None:
    @contextmanager
    def load() -> Iterator[Loaded]:
        raise ValueError("no such model")
        yield

    actor = Labeler(load, 0.0)
    with pytest.raises(ValueError, match="no such model"):
        next(actor.answers())
    actor.stop()
