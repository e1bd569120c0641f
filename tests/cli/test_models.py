"""`vidcomp models` as a user runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from vidcomp.cli import app


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["models", *arguments])


def show(*arguments: str) -> dict[str, Any]:
    result = run("show", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    description: dict[str, Any] = json.loads(result.stdout)
    return description


def test_list_names_the_embedded_model_and_where_its_weights_are() -> None:
    rows = {row["name"]: row for row in json.loads(run("list", "--format", "json").stdout)}
    assert rows["ucf16-lite0"]["weights"] == "ships"
    assert rows["ucf16-lite0"]["compressors"] == ["sfc@res3"]
    assert rows["r3d_18-sfc"]["weights"] == "backbone only"
    assert "ucf16-lite0" in run("list").stdout


def test_show_gives_params_and_gmacs_part_by_part() -> None:
    description = show("ucf16-lite0", "--frames", "48", "--size", "192x256")
    for quantity in ("params", "gmacs"):
        parts = description[quantity]
        assert parts["total"] == pytest.approx(parts["head"] + parts["compressor"] + parts["tail"])
    assert description["frames"] == 48


def test_the_tail_costs_in_proportion_to_the_frames_that_are_kept() -> None:
    none = show("ucf16-lite0", "--frames", "48", "--compressor", "none")["gmacs"]
    half = show("ucf16-lite0", "--frames", "48", "--tau", "2")["gmacs"]
    quarter = show("ucf16-lite0", "--frames", "48", "--tau", "4")["gmacs"]
    assert none["compressor"] == 0
    assert half["tail"] == pytest.approx(none["tail"] / 2, rel=1e-4)
    assert quarter["tail"] == pytest.approx(none["tail"] / 4, rel=1e-4)
    assert none["head"] == half["head"] == quarter["head"]


def test_the_cut_can_be_moved() -> None:
    early = show("ucf16-lite0", "--cut", "res2")
    assert early["compressors"][0]["cut"] == "res2"
    assert early["params"]["head"] < show("ucf16-lite0")["params"]["head"]


def test_show_for_people() -> None:
    text = run("show", "r3d_18-sfc").stdout
    for part in ("head", "compressor", "tail", "total", "33,593,936", "Kinetics-400"):
        assert part in text


def test_labels_in_the_order_of_the_outputs() -> None:
    assert run("labels").stdout.splitlines()[::399] == ["abseiling", "zumba"]
    found = run("labels", "kinetics400-i3d", "--match", "Skiing").stdout.splitlines()
    assert found[-1] == "water skiing"
    assert len(found) == 5
    assert len(run("labels", "ucf16-lite0").stdout.splitlines()) == 16


def test_verify_reads_the_weights() -> None:
    result = run("verify", "ucf16-lite0")
    assert result.exit_code == 0, result.output
    assert "weights are whole" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "unknown model 'nothing'"),
        (
            ["show", "ucf16-lite0", "--tau", "0.5"],
            "--tau 0.5: the compression ratio of SFC must be a number of at least 1",
        ),
        (["show", "ucf16-lite0", "--cut", "res9"], "unknown cut 'res9'"),
        (["show", "ucf16-lite0", "--compressor", "zip"], "choose sfc, sgs, sgs+sfc or none"),
        (["labels", "--match", "skiiing"], "no label of kinetics400-i3d holds it; near it: ski"),
        (["labels", "ucf16-lite0", "--match", "1234"], "no label of ucf16-lite0 holds it; try a shorter text"),
        (["show", "ucf16-lite0", "--size", "big"], "--size 'big' is not height x width"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
