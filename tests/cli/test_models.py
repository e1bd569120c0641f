"""`vidcomp models` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vidcomp.cli import app
from vidcomp.video.frames import target_size
from vidcomp.zoo.build import build_network
from vidcomp.zoo.manifest import Manifest, list_manifests


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["models", *arguments])


def show(*arguments: str) -> dict[str, Any]:
    result = run("show", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    description: dict[str, Any] = json.loads(result.stdout)
    return description


def listed(*arguments: str) -> dict[str, Any]:
    result = run("list", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_list_says_at_a_glance_what_a_model_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path))
    rows = listed()
    assert [name for name, row in rows.items() if row["default"]] == ["kinetics400-i3d"]
    ships, download, own = rows["ucf16-lite0"], rows["x3d_s"], rows["x3d_xl"]
    assert (ships["weights"], download["weights"], own["weights"]) == ("ships", "one download", "bring your own")
    assert (ships["labels"], ships["compressors"]) == (16, ["sfc", "sgs", "sgs+sfc", "bitstream"])
    assert (download["family"], download["gmacs"], download["top1"]) == ("X3D", 8.4, 73.33)
    assert (download["license"], own["license"]) == ("Apache-2.0", None)
    assert {row["family"] for row in rows.values()} >= {"X3D", "SlowFast", "R(2+1)D", "TPN", "torchvision"}
    assert list(listed("--family", "slowfast")) == ["slowfast_4x16_r50", "slowfast_8x8_r50"]


def test_the_page_has_the_table_that_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path))
    page = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    told = {row[1].strip("`"): row[2:] for row in cells if len(row) == 7 and row[1].startswith("`")}
    assert told == {
        name: [
            row["weights"],
            *("–" if row[key] is None else f"{row[key]:.1f}" for key in ("gmacs", "top1")),
            row["license"] or "–",
            ", ".join(row["compressors"]).replace("identity", "whole"),
        ]
        for name, row in listed().items()
    }
    assert list(told) == list(listed())


def test_list_begins_with_the_default_and_marks_it() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[1:3] == ["I3D", lines[2]]
    assert lines[2].split()[:3] == ["kinetics400-i3d", "*", "ships"]


@pytest.mark.slow
@pytest.mark.parametrize("manifest", list_manifests(), ids=lambda manifest: manifest.name)
def test_the_gmacs_of_ten_seconds_are_those_that_are_listed(manifest: Manifest) -> None:
    from vidcomp.evaluation.cost import gmacs

    with torch.device("meta"):
        network = build_network(manifest).eval()
    spec = network.spec
    # Of a bitstream, a group for every twelve frames is the least.
    seen = range(0, 250, 1 if spec.modalities == ("rgb",) else 12)[:: spec.stride]
    frames = spec.clip_frames if spec.fixed_length else len(seen)
    width = spec.crop if spec.central else target_size(340, 256, spec.short_side)[0]
    found = gmacs(network, frames, spec.whole_side, width).total
    assert manifest.gmacs == pytest.approx(found, abs=0.06)


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
        (["show", "x3d-m"], "unknown model 'x3d-m': did you mean x3d_m, "),
        (["list", "--family", "nothing"], "--family 'nothing': no family is called that; there are "),
        (["get"], "name models, or give --all"),
        (["get", "x3d_xs", "--all"], "not both"),
        (["get", "x3d_xl"], "this model has no weights here"),
        (
            ["show", "ucf16-lite0", "--tau", "0.5"],
            "--tau 0.5: the compression ratio of SFC must be a number of at least 1",
        ),
        (["show", "ucf16-lite0", "--cut", "res9"], "unknown cut 'res9'"),
        (["show", "ucf16-lite0", "--compressor", "zip"], "choose sfc, sgs, sgs+sfc, bitstream or none"),
        (["labels", "--match", "skiiing"], "no label of kinetics400-i3d contains it; near it: ski"),
        (["labels", "ucf16-lite0", "--match", "1234"], "no label of ucf16-lite0 contains it; try a shorter text"),
        (["show", "ucf16-lite0", "--size", "big"], "--size 'big' is not height x width"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
