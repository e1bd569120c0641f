"""`vidcomp results` shows, converts and merges what is stored, and computes nothing."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from tests.clips import make_clip
from vidcomp.cli import app


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a", "b"):
        make_clip(folder / f"{name}.mp4", 20)
    (folder / "bad.mp4").write_bytes(b"nothing")
    path = folder.parent / "labels.jsonl"
    made = run("classify", folder, "--model", model, "-o", path, "--top-k", 1, "--log-file", path.with_name("log"))
    assert made.exit_code == 1, made.output
    return path


def records(text: str) -> dict[str, Any]:
    return {record["path"]: record for record in map(json.loads, text.splitlines())}


def test_labels_that_were_not_shown_are_stored(labels: Path) -> None:
    before = labels.read_bytes()
    shown = records(run("results", labels, "--top-k", 3, "--format", "jsonl", "-q").stdout)
    stored = records(labels.read_text())
    for name in ("a.mp4", "b.mp4"):
        first = stored[name]["labels"] + stored[name]["other_labels"]
        assert len(stored[name]["labels"]) == 1
        assert shown[name]["labels"] == first[:3]
        assert shown[name]["label"] == first[0]["label"]
        assert "other_labels" not in shown[name]
    assert shown["bad.mp4"]["error"]["kind"] == "not_video"
    assert labels.read_bytes() == before


def test_filters(labels: Path) -> None:
    stored = records(labels.read_text())
    best = stored["a.mp4"]["probability"]
    sure = records(run("results", labels, "--min-probability", best + 0.001, "--format", "jsonl").stdout)
    assert sure["a.mp4"]["labels"] == []
    assert sure["a.mp4"]["uncertain"]
    assert list(records(run("results", labels, "--show", "failed", "--format", "jsonl").stdout)) == ["bad.mp4"]
    named = run("results", labels, "--label", stored["a.mp4"]["label"], "--format", "jsonl").stdout
    assert "bad.mp4" not in records(named)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_formats_turn_into_each_other(labels: Path, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    done = run("results", labels, "-o", path)
    assert done.exit_code == 0, done.output
    assert f"labels: {path}" in done.stderr
    back = records(run("results", path, "--format", "jsonl", "--top-k", 1).stdout)
    stored = records(labels.read_text())
    assert {name: record["label"] for name, record in back.items()} == {
        name: record["label"] for name, record in stored.items()
    }


def test_classify_goes_on_with_what_results_wrote(labels: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    run("results", labels, "-o", path)
    folder = next(iter(records(labels.read_text()).values()))["input"]["root"]
    again = run("classify", folder, "--model", model, "-o", path, "-v")
    assert "3 of them done before" in again.stderr
    assert len(json.loads(path.read_text())) == 3


def test_files_are_merged_and_the_last_one_counts(labels: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    newer = records(labels.read_text())["a.mp4"] | {"notes": ["newer"]}
    elsewhere = newer | {"input": newer["input"] | {"root": "/elsewhere"}}
    other.write_text(json.dumps(newer) + "\n" + json.dumps(elsewhere) + "\n")
    merged = [json.loads(line) for line in run("results", labels, other, "--format", "jsonl").stdout.splitlines()]
    assert [record["path"] for record in merged] == ["b.mp4", "bad.mp4", "a.mp4", "a.mp4"]
    assert merged[2]["notes"] == ["newer"]


def test_csv_and_table(labels: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("results", labels, "--format", "csv").stdout)))
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
    assert rows[0]["top_k"].count("; ") == 2
    table = run("results", labels).stdout
    assert "a.mp4" in table
    assert "not_video" in table


def test_report(labels: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run("results", labels, "--report", page).exit_code == 0
    assert page.read_text().count("data-name=") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("hello\nworld\n", "record 1 was not written by vidcomp"), ("", "")],
)
def test_what_is_no_file_of_labels(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    if text is not None:
        path.write_text(text)
    done = run("results", path)
    assert done.exit_code == (2 if said else 0)
    assert said in done.stderr


def test_a_file_to_read_is_not_written(labels: Path) -> None:
    before = labels.read_bytes()
    assert run("results", labels, "-o", labels).exit_code == 2
    assert labels.read_bytes() == before


def test_the_log_has_times_and_every_video(labels: Path) -> None:
    lines = labels.with_name("log").read_text().splitlines()
    assert lines[0].split()[2:4] == ["INFO", "vidcomp"]
    assert any("loading" in line for line in lines)
    assert sum(".mp4: " in line for line in lines if "INFO" in line) == 2
    assert any(line.split()[2] == "ERROR" and "bad.mp4" in line for line in lines)


def test_a_dry_run_lists_what_would_be_done(labels: Path, model: Path, tmp_path: Path) -> None:
    folder = next(iter(records(labels.read_text()).values()))["input"]["root"]
    new = Path(folder) / "c.mp4"
    new.write_bytes(b"new")
    try:
        left = run("classify", folder, "--model", "no-such-model", "-o", labels, "--dry-run")
        assert left.exit_code == 0
        assert left.stdout.splitlines() == [os.fspath(new)]
        assert "1 of 4 videos would be labeled" in left.stderr
        assert not list(tmp_path.iterdir())
    finally:
        new.unlink()


def test_environment_variables_choose_model_and_device(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(iter(records(labels.read_text()).values()))["input"]["root"]
    monkeypatch.setenv("VIDCOMP_MODEL", "no-such-model")
    assert "no-such-model" in run("classify", folder).stderr
    monkeypatch.setenv("VIDCOMP_DEVICE", "abacus")
    assert "abacus" in run("classify", folder).stderr


def test_records_are_what_the_schema_says(labels: Path, tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(run("results", "--schema").stdout))
    turned = [tmp_path / "labels.csv", tmp_path / "labels.parquet"]
    for path in turned:
        run("results", labels, "-o", path)
    texts = [labels.read_text(), *(run("results", path, "--format", "jsonl").stdout for path in (labels, *turned))]
    for text in texts:
        for record in records(text).values():
            validator.validate(record)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**record, "status": "perhaps"})


def test_doctor_tells_versions_and_tries() -> None:
    done = run("doctor", "--no-check")
    assert done.exit_code == 0, done.output
    for name in ("vidcomp", "python", "torch", "GPUs", "downloads"):
        assert name in done.stdout
