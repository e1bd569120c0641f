"""Who gets which job, and what becomes of it when an actor dies."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from tests.scale.fake_ray import FakeRay, RayActorError, RayTaskError, jobs
from vidcomp.inference.batch import Job
from vidcomp.scale import engine as module
from vidcomp.scale.engine import Actors, Engine, EngineError, connect


def engine_on(monkeypatch: pytest.MonkeyPatch, ray: FakeRay, actors: Actors | None = None, **more: Any) -> Engine[Job]:
    monkeypatch.setitem(sys.modules, "ray", ray)
    return Engine[Job](lambda: None, lambda job: f"crashed {job.path}", actors=actors or Actors(), **more)


def answers(engine: Engine[Job], count: int) -> dict[str, str]:
    """What each job got; each got one answer."""
    found = [(job.path, answer) for job, answer in engine.run(jobs(count))]
    assert Counter(path for path, _ in found) == Counter(str(number) for number in range(count))
    return dict(found)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40, 500])
def test_every_job_has_one_answer(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    ray = FakeRay()
    with engine_on(monkeypatch, ray) as engine:
        assert answers(engine, count) == {str(number): str(number) for number in range(count)}
    assert len(ray.actors) == (2 if count else 0)
    assert all(actor.dead for actor in ray.actors)  # nobody is left behind


def test_an_actor_says_who_it_is_also_where_nothing_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, about = FakeRay(), list[str]()
    with engine_on(monkeypatch, ray, ready=about.append) as engine:
        assert answers(engine, 0) == {}
        assert about == []
        engine.introduce()
    assert about == ["actor 0"]
    assert [actor.dead for actor in ray.actors] == [True]


def test_what_is_due_is_done_while_no_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, waited, calls = FakeRay(), list[int](), list[int]()
    wait = ray.wait

    def slow(things: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        waited.append(1)
        return ([], things) if len(waited) < 5 else wait(things, **options)

    monkeypatch.setattr(ray, "wait", slow)
    with engine_on(monkeypatch, ray, meanwhile=lambda: calls.append(len(waited))) as engine:
        answers(engine, 3)
    assert calls[:4] == [1, 2, 3, 4]


def test_a_list_is_drawn_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    with engine_on(monkeypatch, FakeRay()) as engine:
        running = engine.run(jobs(100_000, drawn))
        for done in range(1, 200):
            next(running)
            assert len(drawn) - done <= 2 * (2 + module._WAITING)


def test_a_video_that_kills_two_actors_is_the_only_one_that_suffers(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(poison=["7", "8", "60"])
    with engine_on(monkeypatch, ray) as engine:
        found = answers(engine, 100)
        assert engine.deaths in (5, 6)  # 7 and 8 may share one
    assert {path for path, answer in found.items() if answer.startswith("crashed")} == {"7", "8", "60"}
    # The second time it was alone.
    for poison in ray.poison:
        assert [held for _, held in ray.fed if poison in held][-1] == [poison]


def test_actors_that_are_killed_from_outside_cost_no_video(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    kills = {str(number) for number in range(0, 500, 20)}  # so far apart that none is suspect of two deaths

    def once(number: int, path: str) -> bool:
        due = path in kills
        kills.discard(path)
        return due

    ray.kills = once
    with engine_on(monkeypatch, ray) as engine:
        assert answers(engine, 500) == {str(number): str(number) for number in range(500)}
        assert engine.deaths == 25


def test_the_pool_grows_while_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, most in ((3, 1), (2000, 5)):
        ray = FakeRay(cpus=1)
        with engine_on(monkeypatch, ray, Actors(least=1, most=5)) as engine:
            answers(engine, count)
        assert len(ray.actors) == most


def test_what_the_first_actor_raises_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    ray.broken = [RayTaskError(ValueError("no such model"))]
    with engine_on(monkeypatch, ray) as engine, pytest.raises(ValueError, match="no such model"):
        answers(engine, 5)


@pytest.mark.parametrize("times", [2, 3])
def test_actors_that_die_while_they_start(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    ray = FakeRay(cpus=1)
    ray.broken = [RayActorError("out of memory") for _ in range(times)]
    with engine_on(monkeypatch, ray) as engine:
        if times < 3:
            assert len(answers(engine, 5)) == 5
        else:
            with pytest.raises(EngineError, match="before the model is loaded: out of memory"):
                answers(engine, 5)


def test_an_actor_that_fails_later_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(cpus=1)
    with engine_on(monkeypatch, ray, Actors(least=1)) as engine:
        running = engine.run(jobs(20))
        found = [next(running)[1]]
        actor = ray.actors[0]

        def fail() -> Any:
            actor._hear = original  # type: ignore[method-assign]
            raise RayTaskError(OSError("the disk is full"))

        original, actor._hear = actor._hear, fail  # type: ignore[method-assign]
        found += [answer for _, answer in running]
    assert sorted(found, key=int) == [str(number) for number in range(20)]
    assert len(ray.actors) == 2


def test_a_cluster_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with engine_on(monkeypatch, FakeRay(cpus=2), Actors(cpus=8, gpus=0.5), tell=told.append) as engine:
        answers(engine, 3)
    assert told == ["no node has room for an actor of 8 CPUs and 0.5 GPUs now; waiting for one"]


def test_ray_that_is_not_there_or_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'vidcomp\[ray\]'"):
        connect()
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    with pytest.raises(EngineError, match="ray job submit"):
        connect("ray://head:10001")
