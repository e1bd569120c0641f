"""A classifier whose videos are labeled by actors, for whatever takes a classifier."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from vidcomp.files import absolute, printable
from vidcomp.inference.batch import Job, Stamp
from vidcomp.inference.classifier import CRASHED, Classifier, Unexpected
from vidcomp.inference.prediction import Failure, Prediction
from vidcomp.scale.actor import Loaded
from vidcomp.scale.archive import KILLED_ACTORS
from vidcomp.scale.engine import Actors, Engine
from vidcomp.zoo.build import LoadedModel

LoadClassifier = Callable[[], AbstractContextManager[Classifier]]
"""Makes a classifier like this one in an actor: it is pickled."""


class ClusterClassifier(Classifier):
    """Does :meth:`classify_all` and :meth:`batches` on the cluster that was joined, and the rest by itself."""

    def __init__(
        self, model: LoadedModel, *, load: LoadClassifier, actors: Actors, tell: Callable[[str], None], **options: Any
    ) -> None:
        """As :class:`Classifier`, with actors that are started for each list of videos.

        Args:
            model: the model that ``load`` loads, for what is asked of it here.
            load: makes an actor's classifier.
            actors: how many, and how large.
            tell: told what a user may want to know, a sentence each.
            options: those of :class:`Classifier`.
        """
        super().__init__(model, **options)
        self._load, self._actors, self._tell = load, actors, tell

    def batches(
        self, paths: Iterable[str | os.PathLike[str]], *, unexpected: Unexpected | None = None
    ) -> Generator[list[Prediction]]:
        """Each prediction by itself, in the order of the videos; what is done before its turn waits for it here.

        Raises:
            EngineError: actors cannot be had, or end before they answer anything.
        """
        drawn, done = deque[str](), dict[str, Prediction]()

        def jobs() -> Iterator[Job]:
            for path in paths:
                drawn.append(name := os.fsdecode(path))
                local = self._downloads is None or not self._downloads.takes(name)
                yield Job(absolute(name) if local else name, name)

        def crashed(job: Job) -> Prediction:
            return self.failure(job.name, Failure(CRASHED, f"{printable(job.name)}: {KILLED_ACTORS}"))

        load = partial(_loaded, self._load, bool(self.runner.notes_features))
        with Engine[Job](load, crashed, actors=self._actors, tell=self._tell) as engine:
            for job, prediction in engine.run(jobs()):
                done[job.name] = prediction
                while drawn and drawn[0] in done:
                    yield [done.pop(drawn.popleft())]


@contextmanager
def _loaded(load: LoadClassifier, notes_features: bool) -> Iterator[Loaded]:
    with load() as classifier, classifier.noting_features() if notes_features else nullcontext():
        yield Loaded(classifier, _whole)


def _whole(job: Job, prediction: Prediction, stamp: Stamp | None) -> Prediction:
    return prediction
