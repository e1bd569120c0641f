"""What the engine asks of Ray, in one process and in order: actors answer when they are waited for, and die as told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from vidcomp.inference.batch import Job


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class FakeActor:
    """Answers each job with its path; dies of those in `poison`."""

    def __init__(self, cluster: FakeRay, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.jobs: deque[Job | None] = deque()
        self.greeted = self.dead = False
        self.feeds = 0
        for name in ("feed", "stop"):
            setattr(self, name, SimpleNamespace(remote=getattr(self, f"_{name}")))
        stream = SimpleNamespace(remote=lambda: self)
        self.answers = SimpleNamespace(options=lambda **_: stream)

    @property
    def ready(self) -> bool:
        """Whether there is something to hear: like the real one, it waits for company unless None follows a job."""
        begun = self.cluster.most_begun
        held = [job for job in self.jobs if job is not None]
        return self.dead or not self.greeted or (bool(held) and (len(held) >= begun or None in self.jobs))

    def __next__(self) -> Callable[[], Any]:
        return self._hear

    def _hear(self) -> Any:
        if self.dead:
            raise RayActorError("died")
        if not self.greeted:
            if self.cluster.broken:
                raise self.cluster.broken.pop()
            self.greeted = True
            return self.cluster.most_begun, f"actor {self.number}"
        job = self.jobs[0]
        if job is None:
            self.jobs.popleft()
            return []
        if job.path in self.cluster.poison or self.cluster.kills(self.number, job.path):
            self.dead = True
            raise RayActorError("died")
        self.jobs.popleft()
        return [job.path]

    def _feed(self, number: int, jobs: Iterable[Job | None]) -> None:
        assert number == self.feeds
        self.feeds += 1
        self.jobs.extend(jobs)
        self.cluster.fed.append((self.number, [job.path for job in self.jobs if job is not None]))

    def _stop(self) -> None:
        return None


class FakeRay:
    """Stands for the module `ray` with a cluster of so many CPUs."""

    exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError)

    def __init__(self, *, cpus: int = 2, most_begun: int = 2, poison: Iterable[str] = ()) -> None:
        self.cpus, self.most_begun, self.poison = cpus, most_begun, set(poison)
        self.broken: list[Exception] = []
        self.kills: Callable[[int, str], bool] = lambda number, path: False
        self.actors: list[FakeActor] = []
        self.fed: list[tuple[int, list[str]]] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(self.cpus)}}, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, kind: type) -> Any:
        def start(*_: Any) -> FakeActor:
            self.actors.append(FakeActor(self, len(self.actors)))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def wait(self, things: list[Any], *, num_returns: int = 1, timeout: float) -> tuple[list[Any], list[Any]]:
        if not any(isinstance(thing, FakeActor) for thing in things):
            return things, []
        ready = [thing for thing in things if thing.ready]
        assert ready, "everybody waits for somebody else"
        return ready, [thing for thing in things if not thing.ready]

    def get(self, answer: Callable[[], Any], timeout: float | None = None) -> Any:
        return answer()

    def kill(self, actor: FakeActor) -> None:
        actor.dead = True


def jobs(count: int, drawn: list[str] | None = None) -> Iterator[Job]:
    """Jobs named by their numbers; which were drawn is noted."""
    for number in range(count):
        if drawn is not None:
            drawn.append(str(number))
        yield Job(str(number), str(number))
