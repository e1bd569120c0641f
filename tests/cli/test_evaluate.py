"""`vidcomp evaluate` as a user runs it: what it prints, what scripts rely on, and what it leaves when interrupted."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import clips
from vidcomp import load
from vidcomp.cli import app
from vidcomp.inference.pending import VideoOpener
from vidcomp.video import DecodeWorker

KEYS = {"strategy", "videos", "failed", "top1", "top5", "per_class", "confusion", "calibration_error", "gmacs_mean"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labeled")
    for name in ("jump/a.mp4", "jump/b.mp4", "swim/c.mp4"):
        (root / name).parent.mkdir(exist_ok=True)
        clips.make_clip(root / name, 20, size=(64, 48))
    return root


def evaluate(source: Path, model: Path, *more: object) -> Result:
    command = ["evaluate", str(source), "--model", str(model), "--device", "cpu", *map(str, more)]
    return CliRunner().invoke(app, command)


@pytest.mark.parametrize("strategy", ["whole", "dense3", "dense2x1", "uniform2", "uniform2x8", None])
def test_the_numbers_that_scripts_rely_on(folder: Path, model: Path, strategy: str | None) -> None:
    chosen = ("--strategy", strategy) if strategy else ()
    told = evaluate(folder, model, *chosen, "--format", "json")
    assert told.exit_code == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer.keys() >= KEYS
    assert (answer["strategy"], answer["videos"], answer["complete"]) == (strategy or "whole", 3, True)
    right = sum(answer["confusion"].get(name, {}).get(name, 0) for name in ("jump", "swim"))
    assert answer["top1"] == pytest.approx(right / 3)
    assert answer["top5"] == 1  # of three classes
    assert answer["gmacs_mean"] > 0
    assert answer["agreement_dense30"] is None
    assert sum(sum(row.values()) for row in answer["confusion"].values()) == 3


def test_a_csv_file_confusion_and_agreement(folder: Path, model: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,label\n{folder}/jump/a.mp4,jump\n{folder}/swim/c.mp4,run\n")
    files = [tmp_path / "c.csv"]
    told = evaluate(
        listed, model, "--strategy", "whole", "--agreement", "--confusion", files[0], "--format", "json", "--quiet"
    )
    assert told.exit_code == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["videos"] == 2
    named = [
        [prediction.top.label for prediction in classifier.classify_all([folder / "jump/a.mp4", folder / "swim/c.mp4"])]
        for strategy in ("whole", "dense30")
        for classifier in [load(model, device="cpu", strategy=strategy)]
    ]
    assert answer["agreement_dense30"] == sum(one == other for one, other in zip(*named, strict=True)) / 2
    with files[0].open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table[0] == ["true \\ predicted", "jump", "run", "swim"]
    assert [sum(map(int, row[1:])) for row in table[1:]] == [1, 1, 0]
    found = {
        row[0]: {name: int(n) for name, n in zip(table[0][1:], row[1:], strict=True) if n != "0"} for row in table[1:]
    }
    assert {name: row for name, row in found.items() if row} == answer["confusion"]


def test_a_picture_of_the_confusion(folder: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    told = evaluate(folder, model, "--strategy", "whole", "--confusion", tmp_path / "c.png")
    assert told.exit_code == 0, told.stderr
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "top-1" in told.stdout


def test_an_interrupt_leaves_what_was_measured(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VideoOpener.open

    def interrupted(self: VideoOpener, worker: DecodeWorker, path: str) -> object:
        if path.endswith("c.mp4"):
            raise KeyboardInterrupt
        return real(self, worker, path)

    monkeypatch.setattr(VideoOpener, "open", interrupted)
    told = evaluate(folder, model, "--strategy", "whole", "--format", "json")
    assert told.exit_code == 130
    assert "interrupted: what follows is of 2 of 3 videos" in told.stderr
    answer = json.loads(told.stdout)
    assert (answer["videos"], answer["complete"]) == (2, False)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("{folder}/jump", (), "have no class"),
        ("{folder}/none", (), "no such file or folder"),
        ("{folder}", ("--confusion", "c.txt"), "ends in .csv or .png"),
        ("{folder}", ("--confusion", "/nowhere/c.csv"), "there is no folder"),
        ("{folder}", ("--strategy", "dense30", "--agreement"), "compares with dense30"),
        ("{folder}", ("--strategy", "dense4"), "clips x 3 crops"),
        ("{folder}", ("--strategy", "sgs"), "not in this model"),
        ("{folder}", ("--strategy", "sfc-tau4"), "not in this model"),
        ("{folder}", ("--strategy", "whole", "--tau", "4"), "no SFC"),
        ("{folder}", ("--tau", "4"), "nothing is compressed"),
        ("{folder}", ("--tau", "0.5"), "--tau 0.5: the compression ratio of SFC"),
    ],
)
def test_wrong_usage_is_one_line(
    folder: Path, model: Path, source: str, options: tuple[str, ...], message: str
) -> None:
    told = evaluate(Path(source.format(folder=folder)), model, *options)
    assert told.exit_code == 2
    assert message in told.stderr
    assert told.stderr.count("\n") == 1


def test_classes_are_printed_as_they_are_named(folder: Path, model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    names = ("[red]", "[/b]", ":fire:")
    odd.write_text(
        model.read_text()
        .replace("tiny.safetensors", "weights.safetensors")
        .replace("[jump, run, swim]", f"['{names[0]}', '{names[1]}', '{names[2]}']")
    )
    (tmp_path / "weights.safetensors").write_bytes((model.parent / "tiny.safetensors").read_bytes())
    listed = tmp_path / "list.csv"
    files = ("jump/a.mp4", "jump/b.mp4", "swim/c.mp4")
    listed.write_text("".join(f"{folder}/{file},{name}\n" for file, name in zip(files, names, strict=True)))
    told = evaluate(listed, odd)
    assert told.exit_code == 0, told.stderr
    assert [line.split()[0] for line in told.stdout.splitlines()[2:]] == list(names)


def test_a_video_that_cannot_be_read_is_left_out(folder: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "jump").mkdir()
    (tmp_path / "jump" / "a.mp4").write_bytes((folder / "jump" / "a.mp4").read_bytes())
    (tmp_path / "jump" / "broken.mp4").write_text("no")
    told = evaluate(tmp_path, model, "--strategy", "whole", "--format", "json")
    assert told.exit_code == 1
    assert "broken.mp4" in told.stderr
    assert (json.loads(told.stdout)["videos"], json.loads(told.stdout)["failed"]) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files there")
def test_what_is_passed_over_in_the_folder_is_told(folder: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "jump").mkdir()
    (tmp_path / "jump" / "a.mp4").write_bytes((folder / "jump" / "a.mp4").read_bytes())
    os.mkfifo(tmp_path / "jump" / "pipe.mp4")
    told = evaluate(tmp_path, model, "--strategy", "whole", "--format", "json")
    assert told.exit_code == 0, told.stderr
    assert "warning: " in told.stderr
    assert "pipe.mp4: not an ordinary file; skipped" in told.stderr
    quiet = evaluate(tmp_path, model, "--strategy", "whole", "--format", "json", "--quiet")
    assert quiet.stderr == ""


def test_a_folder_may_hold_other_classes_and_patterns_choose(folder: Path, model: Path, tmp_path: Path) -> None:
    root = tmp_path / "more"
    shutil.copytree(folder, root)
    (root / "juggling").mkdir()
    clips.make_clip(root / "juggling" / "d.mp4", 10, size=(64, 48))
    known = evaluate(root, model, "--format", "json")
    assert known.exit_code == 0, known.stderr
    assert json.loads(known.stdout)["videos"] == 3
    assert "juggling is not a label of the model: 1 of 4 videos do not count" in known.stderr
    some = evaluate(root, model, "--format", "json", "--include", "jump", "--exclude", "b.*")
    assert json.loads(some.stdout)["videos"] == 1
