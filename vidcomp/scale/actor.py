"""What runs in each actor: a classifier that takes jobs as they come, and answers in their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidcomp.inference.batch import Job, RunStats, Sink, Stamp, label_all
from vidcomp.inference.prediction import Prediction

if TYPE_CHECKING:
    from vidcomp.inference.classifier import Classifier


@dataclass(frozen=True)
class Loaded:
    """A classifier in its actor, what to send back of a prediction (``answer``), and before the first (``about``).

    Whatever has ``batches`` and ``most_begun`` as :class:`~vidcomp.inference.classifier.Classifier` has them may stand
    for one, as in tests and benchmarks.
    """

    classifier: Classifier
    answer: Callable[[Job, Prediction, Stamp | None], Any]
    about: Any = None


Load = Callable[[], AbstractContextManager[Loaded]]
"""Makes the classifier in the actor's process: it is pickled, the classifier is not."""


# In the outbox: nothing comes after it.
_STOP = InterruptedError()


class Labeler:
    """The body of an actor. :meth:`answers` is called once, and runs beside :meth:`feed` and :meth:`stop`."""

    def __init__(self, load: Load, min_probability: float) -> None:
        self._load, self._min_probability = load, min_probability
        self._inbox = queue.Queue[Job | None]()
        self._early, self._feeds, self._feeding = dict[int, list[Job | None]](), 0, threading.Lock()
        self._outbox = queue.SimpleQueue[Any]()
        self._closed = threading.Event()

    def feed(self, number: int, jobs: list[Job | None]) -> None:
        """Take more jobs; after None, those before it are finished without waiting for others.

        ``number`` counts the calls from 0: they run in threads, where one may overtake another.
        """
        with self._feeding:
            self._early[number] = jobs
            while self._feeds in self._early:
                for job in self._early.pop(self._feeds):
                    self._inbox.put(job)
                self._feeds += 1

    def answers(self) -> Iterator[Any]:
        """How many jobs may be begun at once, and ``about``, when the model is loaded; then lists of answers.

        The answer for a file that is not a video, and need not have been one, is None.

        Raises:
            Exception: the model cannot be loaded, or the system starts no decoding process.
        """
        try:
            with self._load() as loaded:
                yield loaded.classifier.most_begun, loaded.about
                threading.Thread(target=self._label, args=(loaded,), daemon=True).start()
                while (first := self._outbox.get()) is not _STOP:
                    ready = [first]
                    # After a fault or a request to stop, there is nothing.
                    while not isinstance(ready[-1], Exception) and not self._outbox.empty():
                        ready.append(self._outbox.get())
                    if ready[-1] is _STOP:
                        return
                    if isinstance(ready[-1], Exception):
                        raise ready[-1]
                    yield ready
        finally:
            self._closed.set()

    def stop(self) -> None:
        """End :meth:`answers` once what is in the works is done; returns then."""
        self._outbox.put(_STOP)
        self._closed.wait()

    def _label(self, loaded: Loaded) -> None:
        """Label job after job, in a thread of its own: answers are sent while the next video is worked on."""
        sink = _Outbox(self._outbox, loaded.answer)
        try:
            while True:
                jobs: Iterator[Job] = iter(self._inbox.get, None)
                for _ in label_all(loaded.classifier, jobs, sink, RunStats(0), min_probability=self._min_probability):
                    pass
        except Exception as error:
            self._outbox.put(error)


class _Outbox(Sink):
    """Sends the answers back."""

    def __init__(self, outbox: queue.SimpleQueue[Any], answer: Callable[[Job, Prediction, Stamp | None], Any]) -> None:
        self._outbox, self._answer = outbox, answer

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        self._outbox.put(self._answer(job, prediction, stamp))

    def pass_over(self, job: Job) -> None:
        self._outbox.put(None)
