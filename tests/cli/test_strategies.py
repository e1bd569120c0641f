"""A strategy of one name is the same one wherever it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import vidcomp
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app

STRATEGIES = ("sfc-tau4", "dense2x1", "uniform2x16", "keyframes")


def run(command: str, *arguments: object) -> Any:
    told = CliRunner().invoke(app, [command, *map(str, arguments), "--device", "cpu", "--format", "json", "--quiet"])
    assert told.exit_code == 0, told.stderr
    return json.loads(told.stdout)


def test_commands_and_the_library_give_one_answer(clip: Path, tmp_path: Path) -> None:
    model, listed = make_tiny_model(tmp_path, kind="sfc"), tmp_path / "list.csv"
    listed.write_text(f"path,label\n{clip},run\n")
    named = [word for strategy in STRATEGIES for word in ("--strategy", strategy)]
    (compared,) = run("compare", listed, "--model", model, *named, "--rounds", 1)["videos"]
    assert compared["answers"].keys() == set(STRATEGIES)
    for strategy in STRATEGIES:
        with vidcomp.load(model, strategy=strategy, device="cpu") as classifier:
            best = classifier(clip).top
        (record,) = run("classify", clip, "--model", model, "--strategy", strategy)
        assert (record["label"], record["probability"]) == (best.label, pytest.approx(best.probability, abs=1e-6))
        answer = compared["answers"][strategy]
        assert (answer["label"], answer["probability"]) == (best.label, pytest.approx(best.probability, abs=1e-6))
    measured = run("evaluate", listed, "--model", model, "--strategy", strategy)
    assert (measured["strategy"], measured["top1"]) == (strategy, float(best.label == "run"))
