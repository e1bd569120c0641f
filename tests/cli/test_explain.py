"""`vidcomp classify --explain` and `--report` as a user runs them, with a network so small that it costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app
from vidcomp.output import attention_plot, plots

pytest.importorskip("matplotlib", reason="pictures need matplotlib")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), kind="sfc", stride=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for place in ("a", "b"):
        (root / place).mkdir()
        clips.make_clip(root / place / "x.mp4", 24)
    (root / "b" / "broken.mp4").write_text("not a video")
    return root


def classify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["classify", "--device", "cpu", *map(str, arguments)])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


@pytest.mark.parametrize("kind", ["sfc", "sgs"])
def test_every_labeled_video_gets_its_files(folder: Path, kind: str, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path, kind=kind, stride=2)
    run = classify(folder, "--model", model, "--explain", tmp_path / "out", "--explain-video", "--format", "json")
    assert run.exit_code == 1  # one video is broken
    assert "no picture" not in run.stderr
    assert files(tmp_path / "out") == [
        f"{place}/x.mp4.attention.{extension}" for place in "ab" for extension in ("mp4", "npz", "png")
    ]
    record = json.loads(run.stdout)[0]
    with np.load(tmp_path / "out" / "a" / "x.mp4.attention.npz") as numbers:
        assert numbers["importance"].tolist() == record["attention"]["importance"]
        assert numbers["seconds"].tolist() == record["attention"]["times_s"]
        assert len(numbers["bins"]) == (record["attention"]["active_bins"] or 0)


def test_videos_made_by_an_earlier_run_are_not_labeled(folder: Path, model: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "x.mp4").write_bytes((folder / "a" / "x.mp4").read_bytes())
    for _ in range(2):
        run = classify(own, "--model", model, "--explain", own, "--explain-video", "--format", "jsonl")
        assert (run.exit_code, len(run.stdout.splitlines())) == (0, 1), run.stderr


def test_a_picture_that_fails_is_a_remark_and_the_label_stays(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(attention_plot, "draw", fail)
    run = classify(folder / "a", "--model", model, "--explain", tmp_path / "out", "--format", "json")
    assert run.exit_code == 0
    assert json.loads(run.stdout)[0]["status"] == "ok"
    assert run.stderr.count("no picture: no room for a picture") == 1
    assert "Traceback" not in run.stderr


def test_a_folder_that_cannot_be_made_is_a_remark(folder: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    run = classify(folder, "--include", "a/*", "--model", model, "--explain", tmp_path)
    assert run.exit_code == 0
    assert "no picture" in run.stderr


def test_pictures_are_made_of_what_is_labeled_now(folder: Path, model: Path, tmp_path: Path) -> None:
    arguments = (folder / "a", "--model", model, "--output", tmp_path / "labels.jsonl")
    assert classify(*arguments).exit_code == 0
    run = classify(*arguments, "--explain", tmp_path / "out")
    assert run.exit_code == 0
    assert "1 of the videos labeled before have no picture" in run.stderr
    assert classify(*arguments, "--explain", tmp_path / "out", "--no-resume").exit_code == 0
    assert files(tmp_path / "out") == ["x.mp4.attention.npz", "x.mp4.attention.png"]
    assert "no picture" not in classify(*arguments, "--explain", tmp_path / "out").stderr


@pytest.mark.parametrize("extension", ["jsonl", "csv", "json"])
def test_the_report_holds_what_earlier_runs_labeled(folder: Path, model: Path, tmp_path: Path, extension: str) -> None:
    page = tmp_path / "report.html"
    arguments = (folder, "--model", model, "--output", tmp_path / f"labels.{extension}", "--report", page)
    assert classify(*arguments, "--limit", "1").exit_code == 0
    first = page.read_text("utf-8")
    assert (first.count("<h2>"), first.count("data:image/jpeg")) == (1, 1)
    assert classify(*arguments).exit_code == 1
    whole = page.read_text("utf-8")
    assert (whole.count("<h2>"), whole.count("data:image/jpeg")) == (3, 2)
    assert whole.count("not_video</strong>") == 1
    assert [name in whole for name in ("a/x.mp4", "b/x.mp4", "b/broken.mp4")] == [True] * 3
    assert whole.count("Attention over time") == (1 if extension == "csv" else 2)


def test_a_report_of_windows_and_of_no_attention(folder: Path, model: Path, tmp_path: Path) -> None:
    for arguments in (["--every", "0.5s"], ["--compressor", "none"]):
        run = classify(folder / "a", "--model", model, *arguments, "--report", tmp_path / "r.html", "--format", "json")
        assert run.exit_code == 0, run.stderr
        page = (tmp_path / "r.html").read_text("utf-8")
        assert (page.count("<h2>"), page.count("Attention over time")) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "{tmp}/folder.html"], "--report {tmp}/folder.html: cannot be written"),
        (["--report", "{tmp}/r.pdf"], "give a file that ends in .html"),
        (["--report", "{tmp}/x.html", "--output", "{tmp}/x.html", "--format", "csv"], "this is --output"),
        (["--explain-video"], "give --explain DIR too"),
        (["--explain", "{tmp}/out", "--every", "1s"], "windows"),
        (["--explain", "{tmp}/out", "--compressor", "none"], "nothing is compressed"),
        (["--explain", "{tmp}/file"], "name a folder"),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.html").mkdir()
    run = classify(folder / "a", "--model", model, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert run.exit_code == 2, run.stderr
    assert message.format(tmp=tmp_path) in run.stderr
    assert run.stderr.count("\n") == 1


def test_without_matplotlib_it_says_what_to_install(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    run = classify(folder / "a", "--model", model, "--explain", tmp_path / "out")
    assert run.exit_code == 2
    assert "pip install 'vidcomp[plots]'" in run.stderr
