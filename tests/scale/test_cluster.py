"""The command on a real cluster of two actors, small as it is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import clips
from tests.scale.test_actor import _answer as _named
from vidcomp.cli import app
from vidcomp.inference.batch import Job
from vidcomp.inference.prediction import FrameCounts, Prediction, Timing
from vidcomp.scale.actor import Loaded
from vidcomp.scale.engine import Actors, Engine, connect

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'vidcomp[ray]')")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Ray in processes of this machine, with more CPUs than it may have."""
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield
    ray.shutdown()


class Deadly:
    """A classifier that a video can kill."""

    most_begun = 1

    def batches(self, paths: Iterable[str], *, unexpected: Any) -> Iterator[list[Prediction]]:
        for path in paths:
            if path == "13":
                os.kill(os.getpid(), signal.SIGKILL)
            yield [Prediction(path, "m", "s", (), FrameCounts(1, 1, 0, 1.0), Timing(0.0, 0.0))]


@contextmanager
def deadly() -> Iterator[Loaded]:
    yield Loaded(Deadly(), _named)  # type: ignore[arg-type]


def test_a_video_that_kills_its_actor_has_two_tries(cluster: None) -> None:
    connect()
    with Engine[Job](deadly, lambda job: "crashed", actors=Actors(least=2, cpus=1)) as engine:
        found = dict(engine.run(Job(str(number), str(number)) for number in range(40)))
        assert engine.deaths == 2
    assert len(found) == 40
    assert [job.path for job, answer in found.items() if answer == "crashed"] == ["13"]


def test_the_command_writes_parts_and_goes_on_where_it_was(tmp_path: Path, model: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for number in range(5):
        clips.make_clip(videos / f"{number}.mp4", 12 + number, size=(64, 48))
    (videos / "5.mp4").write_text("no video")
    listed = tmp_path / "list.csv"
    listed.write_text("path,camera\n" + "".join(f"videos/{number}.mp4,{number}\n" for number in (5, 3, 1, 3)))

    def classify(*more: object) -> Any:
        command = ["classify", str(listed), "--model", str(model), "--engine", "ray", "--actor-cpus", "1"]
        return CliRunner().invoke(app, [*command, "--output", str(out), *map(str, more)])

    first = classify("--actors", "1:2")
    assert first.exit_code == 1, first.stderr
    assert "5.mp4: not a video" in first.stderr
    assert "2 labeled, 1 failed" in first.stderr
    again = classify()
    assert "2 labeled, 1 failed, 3 of them done before" in again.stderr
    frame = pd.concat(map(pd.read_parquet, out.glob("*.parquet"))).set_index("path").sort_index()
    assert frame["camera"].to_dict() == {f"videos/{number}.mp4": str(number) for number in (1, 3, 5)}
    assert frame["status"].tolist() == ["ok", "ok", "error"]
    plain = tmp_path / "plain.parquet"
    CliRunner().invoke(app, ["classify", str(videos / "1.mp4"), "--model", str(model), "--output", str(plain)])
    assert pd.read_parquet(plain)["labels"][0][0] == frame["labels"].iloc[0][0]
    other = classify("--strategy", "uniform2")
    assert other.exit_code == 2
    assert "labels in it were made with strategy auto, not uniform2" in " ".join(other.stderr.split())


def test_evaluate_and_embed_say_what_they_say_on_one_machine(tmp_path: Path, model: Path) -> None:
    videos = tmp_path / "videos"
    for number, label in enumerate(("jump", "run", "swim")):
        (videos / label).mkdir(parents=True)
        clips.make_clip(videos / label / "a.mp4", 12 + number, size=(64, 48))
    cluster = ("--engine", "ray", "--actors", "1", "--actor-cpus", "1")

    def evaluate(*more: str) -> dict[str, Any]:
        command = ["evaluate", str(videos), "--model", str(model), "--format", "json", *more]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    assert evaluate(*cluster) == evaluate()

    def embed(name: str, *more: str) -> pd.DataFrame:
        command = ["embed", str(videos), "--model", str(model), "--output", str(tmp_path / name), "--quiet", *more]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.stderr
        return pd.read_parquet(tmp_path / name).set_index("path").sort_index()

    shared, alone = embed("shared.parquet", *cluster), embed("alone.parquet")
    assert list(shared.index) == list(alone.index)
    np.testing.assert_allclose(np.stack(shared["features"]), np.stack(alone["features"]), rtol=1e-4, atol=1e-9)
