"""A pool of Ray actors that answers a stream of jobs: each of them once, whatever dies on the way.

Ray's own retries are off. They would give a batch that killed its actor to the next actor, and to the next, for ever;
the driver, which knows the jobs that each actor holds, can tell the video that kills from those beside it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Generic, TypeVar

from vidcomp.inference.batch import Job
from vidcomp.scale.actor import Labeler, Load

_STRIKES = 2
# So many actors in a row that end before they answer anything are no accident.
_FAILURES = 3
# Jobs that wait in an actor, at the least, beside those that it may have begun.
_WAITING = 2
_FAREWELL_S = 5.0

AnyJob = TypeVar("AnyJob", bound=Job)


class EngineError(Exception):
    """Ray is not there, or its actors do not run: one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Actors:
    """How many actors, and what each of them reserves.

    ``most`` None: ``least`` of them, and where that is None, too, as many as the cluster has room for when it begins.
    """

    least: int | None = None
    most: int | None = None
    cpus: int = 1
    gpus: float = 0.0


@dataclass
class _Task(Generic[AnyJob]):
    job: AnyJob
    strikes: int = 0


@dataclass
class _Member(Generic[AnyJob]):
    """An actor and the jobs that it was fed and has not answered, in order."""

    actor: Any
    stream: Any
    most_begun: int | None = None
    fed: deque[_Task[AnyJob]] = field(default_factory=deque)
    feeds: int = 0
    alone: bool = False
    ended: bool = True

    @property
    def room(self) -> int:
        """How many jobs to feed it now.

        It holds a few more than it can have begun, so that it never waits for the next, and no more: when it dies, some
        of what it has answered may never have arrived, so all of what it holds is suspect.
        """
        if self.most_begun is None or self.alone:
            return 0
        return self.most_begun + max(_WAITING, self.most_begun // 2) - len(self.fed)


def connect(address: str | None = None) -> None:
    """Join a Ray cluster (``auto``, or HOST:PORT; by default ``RAY_ADDRESS``), or start one on this machine.

    Raises:
        EngineError: Ray is not installed, or there is no cluster at this address.
    """
    try:
        import ray
    except ImportError:
        raise EngineError("--engine ray: Ray is not installed; pip install 'vidcomp[ray]'") from None
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise EngineError(
            f"--engine ray={address}: Ray Client does not carry streams of answers; run vidcomp on a node of the "
            "cluster (ray job submit) with ray=auto"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Answers are small and travel beside the object store, so the least that Ray takes is enough.
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 80 << 20} if address == "local" else {}
    try:
        ray.init(address, logging_level="error", log_to_driver=False, ignore_reinit_error=True, **local)
    except Exception as error:  # a refused connection, a version that differs, a port that is taken
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"--engine ray={address}: no cluster to work on ({reason})") from None


def nodes() -> list[dict[str, float]]:
    """What each node of the cluster has in all: ``CPU``, ``GPU``, ``memory``."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class Engine(Generic[AnyJob]):
    """Use it as a context manager after :func:`connect`: leaving it ends the actors."""

    def __init__(
        self,
        load: Load,
        crashed: Callable[[AnyJob], Any],
        *,
        actors: Actors,
        ready: Callable[[Any], object] = lambda about: None,
        min_probability: float = 0.0,
        tell: Callable[[str], None] = lambda note: None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            load: makes the classifier of an actor.
            crashed: the answer for a video that killed two actors, the second while it was the only one in it.
            actors: how many, and how large.
            ready: called with what each actor says of itself before its first answer; may raise to end the run.
            min_probability: less probable labels are left out.
            tell: told what a user may want to know, a sentence each.
            meanwhile: called about once a second, also while no answer comes.
        """
        import ray

        self._ray, self._crashed, self._ready, self._meanwhile = ray, crashed, ready, meanwhile
        fitting = _room_for(actors, nodes())
        self._least = max(1, fitting if actors.least is None else actors.least)
        self._most = max(self._least, actors.most or 0)
        if not fitting:
            tell(f"no node has room for an actor of {_size(actors)} now; waiting for one")
        remote = ray.remote(Labeler).options(
            num_cpus=actors.cpus, num_gpus=actors.gpus, max_restarts=0, max_task_retries=0, max_concurrency=3
        )
        self._new: Callable[[], Any] = lambda: remote.remote(load, min_probability)
        self._members: list[_Member[AnyJob]] = []
        self._source: Iterator[AnyJob] = iter(())
        self._exhausted = False
        self._again = deque[_Task[AnyJob]]()
        self._suspects = deque[_Task[AnyJob]]()
        self._begun = False
        self._failures = self.deaths = 0

    def __enter__(self) -> Engine[AnyJob]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release(*self._members)

    def run(self, jobs: Iterable[AnyJob]) -> Iterator[tuple[AnyJob, Any]]:
        """Each job with its answer, in the order in which they are done; jobs are drawn as actors take them.

        The answer of a job that is not a video, and need not have been one, is None.

        Raises:
            EngineError: actors end before they answer anything, again and again.
            Exception: what loading the model raised, in the actor.
        """
        self._source, self._exhausted = iter(jobs), False
        # Where there is nothing to do, nobody is started, nor waited for.
        self._again.extend(self._take(1))
        while self._is_left or any(member.fed for member in self._members):
            for member in list(self._members):
                self._feed(member)
            self._resize()
            streams = [member.stream for member in self._members]
            ready = self._ray.wait(streams, timeout=1.0)[0] if streams else []
            for member in [member for member in self._members if member.stream in ready]:
                yield from self._hear(member)
            self._meanwhile()

    def introduce(self) -> None:
        """Have ``ready`` called where no job has started an actor: one is started for that alone.

        Raises:
            EngineError, Exception: as :meth:`run`.
        """
        while not self._begun:
            self._fill_up(1)
            deque(self._hear(self._members[0]), maxlen=0)

    @property
    def _is_left(self) -> bool:
        """Whether there are jobs that no actor holds."""
        return bool(self._again or self._suspects) or not self._exhausted

    def _take(self, count: int) -> list[_Task[AnyJob]]:
        tasks = [self._again.popleft() for _ in range(min(count, len(self._again)))]
        if not self._exhausted and (missing := count - len(tasks)):
            drawn = [_Task(job) for job in islice(self._source, missing)]
            self._exhausted = len(drawn) < missing
            tasks += drawn
        return tasks

    def _feed(self, member: _Member[AnyJob]) -> None:
        """Give an actor what it has room for; suspects one at a time, to one that holds nothing else."""
        if member.most_begun is None:
            return
        if not member.fed and self._suspects:
            member.alone = True
            self._send(member, [self._suspects.popleft()], end=True)
        elif room := member.room:
            tasks = self._take(room)
            if tasks or not member.ended:
                self._send(member, tasks, end=len(tasks) < room)
            elif not member.fed:
                self._release(member)

    def _send(self, member: _Member[AnyJob], tasks: list[_Task[AnyJob]], *, end: bool) -> None:
        """Feed an actor; ``end`` tells it to wait for no more before it finishes these."""
        member.ended = end
        member.fed.extend(tasks)
        member.actor.feed.remote(member.feeds, [*(task.job for task in tasks), *([None] if end else [])])
        member.feeds += 1

    def _hear(self, member: _Member[AnyJob]) -> Iterator[tuple[AnyJob, Any]]:
        try:
            heard = self._ray.get(next(member.stream))
        except self._ray.exceptions.RayTaskError as error:
            self._members.remove(member)
            self._again.extendleft(task for task in reversed(member.fed))
            cause = error.cause if isinstance(error.cause, Exception) else error
            # What the first actor meets is the model's fault, or the user's; later it may be one node's.
            if not self._begun:
                raise cause from None
            self._failed(cause)
            return
        except self._ray.exceptions.RayActorError as error:
            self._members.remove(member)
            yield from self._mourn(member)
            if member.most_begun is None:
                reason = " ".join(str(error).split())[:300]
                self._failed(EngineError(f"--engine ray: actors die before the model is loaded: {reason}"))
            return
        if member.most_begun is None:
            member.most_begun, about = heard
            self._begun = True
            self._ready(about)
            return
        self._failures = 0
        for answer in heard:
            yield member.fed.popleft().job, answer
        member.alone = member.alone and bool(member.fed)

    def _mourn(self, member: _Member[AnyJob]) -> Iterator[tuple[AnyJob, Any]]:
        """What an actor held that was killed is suspect; what it held alone, as a suspect, has killed it."""
        self.deaths += 1
        for task in member.fed:
            task.strikes += 1
            if task.strikes < _STRIKES:
                self._suspects.append(task)
            else:
                yield task.job, self._crashed(task.job)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            raise error from None

    def _resize(self) -> None:
        """Start an actor in place of each that ended, and one more where all are busy and there may be more."""
        left = self._least if not self._exhausted else len(self._again) + len(self._suspects)
        self._fill_up(min(self._least, left))
        starting = [member for member in self._members if member.most_begun is None]
        if not self._exhausted and not starting:
            self._fill_up(min(self._most, len(self._members) + 1))

    def _fill_up(self, count: int) -> None:
        while len(self._members) < count:
            actor = self._new()
            stream = actor.answers.options(num_returns="streaming").remote()
            self._members.append(_Member(actor, stream))

    def _release(self, *members: _Member[AnyJob]) -> None:
        """End actors, in good order if they are not in the middle of something long."""
        stopped = [member.actor.stop.remote() for member in members]
        if stopped:
            self._ray.wait(stopped, num_returns=len(stopped), timeout=_FAREWELL_S)
        for member in members:
            self._members.remove(member)
            self._ray.kill(member.actor)


def _room_for(actors: Actors, nodes: Iterable[dict[str, float]]) -> int:
    """How many such actors fit on nodes of these resources."""
    return sum(
        int(
            min(
                node.get("CPU", 0.0) // actors.cpus,
                node.get("GPU", 0.0) / actors.gpus if actors.gpus else float("inf"),
            )
        )
        for node in nodes
    )


def _size(actors: Actors) -> str:
    return f"{actors.cpus} CPUs" + (f" and {actors.gpus:g} GPUs" if actors.gpus else "")
