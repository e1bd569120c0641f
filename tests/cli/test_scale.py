"""`--engine ray` as a user asks for it: what it is refused with, and that a machine without Ray is told."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vidcomp.cli import app
from vidcomp.scale.classifier import ClusterClassifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.mp4").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--engine spark --output out", "--engine spark: choose ray, or ray=ADDRESS"),
        ("--engine ray --actors 0 --output out", "--actors 0: not a number, or a range such as 2:16"),
        ("--engine ray --actors 8:2 --output out", "--actors 8:2: not a number, or a range"),
        ("--actors 2 --output out.jsonl", "--actors: give --engine ray too"),
        ("--actor-gpus 1", "--actor-gpus: give --engine ray too"),
        ("--engine ray", "--engine ray: give --output too, a folder"),
        ("--engine ray --output FOLDER/a.mp4", "--engine ray writes a folder of parts; name a folder"),
        ("--engine ray --output out --format csv", "--format csv: --engine ray writes parquet or jsonl"),
        ("--engine ray --output out --report r.html", "--report: not with --engine ray"),
        ("--engine ray --output out --link-to there", "--link-to: not with --engine ray"),
        ("--engine ray --output out --include x*", "Ray is not installed; pip install 'vidcomp[ray]'"),
        ("--engine ray --output FOLDER/a.mp4/out", "cannot be used (Not a directory)"),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path, options: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(app, ["classify", str(folder), *options.replace("FOLDER", str(folder)).split()])
    assert result.exit_code == 2
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_driver_does_without_torch() -> None:
    code = (
        "import sys\nimport vidcomp.cli.scale, vidcomp.scale.archive, vidcomp.scale.listing\n"
        "assert not {'torch', 'torchvision', 'av'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("option", ["--agreement", "--compile"])
def test_evaluate_refuses_what_actors_cannot_do(folder: Path, option: str) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(folder), option, "--engine", "ray"])
    assert (result.exit_code, f"{option}: not with --engine ray" in result.stderr) == (2, True)


def test_what_an_actor_of_evaluate_loads_can_be_sent_to_it(tmp_path: Path) -> None:
    from tests.tiny_model import make_tiny_model
    from vidcomp.cli.scale import evaluating
    from vidcomp.inference.grammar import parse_strategy
    from vidcomp.scale.engine import Actors
    from vidcomp.video.worker.pool import DecodePool
    from vidcomp.zoo.build import load_model

    model = load_model(make_tiny_model(tmp_path))
    strategy = parse_strategy("whole").strategy
    options = {"decode_workers": None, "precision": "auto", "batch": None, "device": "cpu", "strategy": strategy}
    with DecodePool() as pool, evaluating(Actors())(model, pool=pool, **options) as classifier:
        assert isinstance(classifier, ClusterClassifier)
        with pickle.loads(pickle.dumps(classifier._load))() as there:
            assert there.model.labels == model.labels
