"""The table of accuracy is made of answers that are kept, whichever run gave them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import accuracy
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.zoo.manifest import read_manifest


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> accuracy.Cell:
    """Two clips of `jump` and one of `run`, and a model whose labels mean nothing."""
    for place, name in enumerate(("jump/v_g01_c1", "jump/v_g02_c1", "run/v_g02_c2")):
        file = tmp_path / "data" / "own" / "val" / f"{name}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        clips.make_clip(file, 10 + place, size=(40, 32))
    monkeypatch.setattr(accuracy, "DATA", tmp_path / "data")
    monkeypatch.setattr(accuracy, "CACHE", tmp_path / "cache")
    manifest = make_tiny_model(tmp_path, kind="sfc")
    monkeypatch.setattr(accuracy, "find_manifest", lambda name: read_manifest(manifest))
    return accuracy.Cell("own", "tiny", "sfc")


def test_a_run_goes_on_with_what_is_left(cell: accuracy.Cell, capsys: pytest.CaptureFixture[str]) -> None:
    assert accuracy.row_of(cell)["why"] == "not measured"
    accuracy.measure(cell, cell.variant(), "cpu", "fp32")
    assert "own/tiny/sfc: 3 of 3" in capsys.readouterr().out
    file = cell.file(cell.variant())
    first, *rest = file.read_text().strip().splitlines()
    file.write_text("\n".join([*rest, first[:20]]))  # killed while it wrote
    row = accuracy.row_of(cell)
    assert (row["videos"], row["why"]) == (2, "2 of 3 videos so far")
    accuracy.measure(cell, cell.variant(), "cpu", "fp32")
    assert capsys.readouterr().out.strip() == "own/tiny/sfc: 1 of 1"
    row = accuracy.row_of(cell)
    assert (row["videos"], row["groups"], "why" in row) == (3, 2, False)
    assert row["gmacs"] > 0
    assert row["peak_mib"] >= 0
    assert row["ms"] > 0


def test_no_times_of_a_busy_machine_are_kept(cell: accuracy.Cell) -> None:
    accuracy.measure(cell, cell.variant(), "cpu", "fp32", busy=True)
    assert accuracy.row_of(cell)["ms"] is None


def test_accuracy_and_agreement_are_of_the_answers_kept(cell: accuracy.Cell) -> None:
    accuracy.measure(cell, cell.variant(), "cpu", "fp32")
    whole = accuracy.Cell("own", "tiny", "whole")
    for one, said in ((cell, ("jump", "run", "run")), (whole, ("jump", "jump", "swim"))):
        answers = list(accuracy.kept(cell.file(cell.variant())).values())
        lines = [json.dumps({**answer, "label": label}) for answer, label in zip(answers, said, strict=True)]
        one.file(one.variant()).write_text("\n".join(lines) + "\n")
    sfc, uncompressed = accuracy.with_agreement([accuracy.row_of(cell), accuracy.row_of(whole)])
    assert sfc["top1"] == pytest.approx(2 / 3)
    assert sfc["balanced"] == pytest.approx(3 / 4)
    assert sfc["agrees_whole"] == pytest.approx(1 / 3)
    assert sfc["agrees_dense30"] is None
    assert uncompressed["top1"] == pytest.approx(2 / 3)
    assert "| own | tiny | sfc | 66.7 (50–100) | 75.0 |  | 33.3 |" in accuracy.table([sfc, uncompressed])


def test_a_changed_video_is_measured_again(cell: accuracy.Cell) -> None:
    accuracy.measure(cell, cell.variant(), "cpu", "fp32")
    (file, *_) = accuracy.kept(cell.file(cell.variant()))
    shutil.copy(Path(file).parent.parent / "run" / "v_g02_c2.mp4", file)
    assert accuracy.row_of(cell)["why"] == "2 of 3 videos so far"
