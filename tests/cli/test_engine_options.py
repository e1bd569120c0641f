"""`--precision`, `--compile`, `--batch` and `--decode-workers`, as a user gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import clips
from vidcomp.cli import app
from vidcomp.inference.device import cpu_has_bf16
from vidcomp.inference.runner import Compilation, Runner


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(4):
        clips.make_clip(root / f"{number}.mp4", 20 + 10 * number, size=(64, 48))
    (root / "2b.mp4").write_text("not a video")
    return root


def classify(folder: Path, model: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["classify", str(folder), "--model", str(model), "--device", "cpu", *options])


def labels(result: Result) -> list[tuple[str, str | None]]:
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return [(Path(r["path"]).name, r["labels"][0]["label"] if r["labels"] else r["error"]["kind"]) for r in records]


def test_any_number_of_decoding_processes_gives_the_same_records(folder: Path, model: Path) -> None:
    one, three = (
        classify(folder, model, "--format", "jsonl", "--decode-workers", workers, "--quiet") for workers in ("1", "3")
    )
    assert (one.exit_code, three.exit_code) == (1, 1), one.stderr + three.stderr
    assert labels(one) == labels(three)
    assert [name for name, _ in labels(one)] == ["0.mp4", "1.mp4", "2.mp4", "2b.mp4", "3.mp4"]
    assert ("2b.mp4", "not_video") in labels(one)
    timing = json.loads(three.stdout.splitlines()[0])["timing"]
    assert timing["decoder_s"] > 0
    assert timing["bottleneck"] in ("decode", "model")


def test_batches_of_videos_give_the_same_records_in_the_same_order(folder: Path, model: Path) -> None:
    clips.make_clip(folder / "2c.mp4", 20, size=(64, 48), first=9)  # as long as 0.mp4
    alone, together = (classify(folder, model, "--format", "jsonl", "--quiet", "--batch", n) for n in ("1", "4"))
    assert (alone.exit_code, together.exit_code) == (1, 1), alone.stderr + together.stderr
    assert labels(alone) == labels(together)
    assert len(labels(together)) == 6


def test_a_precision_that_the_device_lacks_is_one_line(folder: Path, model: Path) -> None:
    result = classify(folder, model, "--precision", "fp16")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "--precision fp16" in result.stderr


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU would have to emulate bfloat16")
def test_another_precision_is_another_run(folder: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    for precision, records in (("fp32", 1), ("bf16", 1), ("bf16", 1)):
        options = ("--output", str(output), "--limit", "1", "--precision", precision)
        result = classify(folder, model, *options)
        assert result.exit_code == 0, result.stderr
        assert len(output.read_text().splitlines()) == records
    assert "done before" in classify(folder, model, "--output", str(output), "--limit", "2", *options[-2:]).stderr


@pytest.mark.parametrize(
    ("compilation", "line"),
    [
        (Compilation(9.34), "vidcomp: the model was compiled in 9.3 s\n"),
        (
            Compilation(0.1, "No working C++ compiler found"),
            "vidcomp: warning: --compile: not possible here; continuing without it (No working C++ compiler found)\n",
        ),
    ],
)
def test_compiling_is_told_of_and_never_the_end(
    compilation: Compilation, line: str, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "compile", lambda self: compilation)
    result = classify(folder, model, "--compile", "--limit", "1", "--format", "jsonl")
    assert result.exit_code == 0
    assert result.stderr == line
    assert len(result.stdout.splitlines()) == 1
