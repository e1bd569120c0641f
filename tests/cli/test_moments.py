"""Moments as a user asks for them: in a table, in every format, as subtitles and chapters."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app


@pytest.fixture(scope="module")
def certain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees people run in whatever it is shown."""
    folder = tmp_path_factory.mktemp("certain")
    manifest = make_tiny_model(folder, stride=1)
    weights = load_file(folder / "tiny.safetensors")
    weights["stages.classifier.linear.bias"] = torch.tensor([0.0, 20.0, 0.0])
    save_file(weights, folder / "tiny.safetensors")
    return manifest


def run(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["classify", "--moments", "--quiet", "--model", str(model), *map(str, arguments)])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return clips.make_clip(tmp_path / "x.mp4", 50, size=(64, 48))


def test_a_table(certain: Path, model: Path, video: Path, tmp_path: Path) -> None:
    shown = run(certain, video)
    assert shown.exit_code == 0, shown.stderr
    assert re.search(r"from +to +moment +probability", shown.stdout)
    assert re.search(r"0:00\.0 +0:02\.0 +run +100\.0%", shown.stdout)
    assert "no moment found: nothing is certain for long enough" in run(model, video).stdout
    clips.make_clip(tmp_path / "y.mp4", 25, size=(64, 48))
    both = run(certain, tmp_path).stdout
    assert re.search(r"x\.mp4 +run.* 0:00\.0–0:02\.0\n", both)
    assert re.search(r"y\.mp4 +run.* 0:00\.0–0:01\.0\n", both)


def test_records(certain: Path, model: Path, video: Path, tmp_path: Path) -> None:
    (record,) = json.loads(run(certain, video, "--format", "json").stdout)
    (moment,) = record["moments"]
    assert (moment["label"], moment["index"], moment["start_s"]) == ("run", 1, 0.0)
    assert moment["end_s"] == pytest.approx(2.0)
    assert moment["probability"] == pytest.approx(1.0, abs=1e-4)
    assert json.loads(run(model, video, "--format", "json").stdout)[0]["moments"] == []
    output = tmp_path / "labels.csv"
    assert run(certain, video, "--output", output).exit_code == 0
    (row,) = csv.DictReader(io.StringIO(output.read_text()))
    assert row["moments"] == "0.00-2.00 run=1.0000"


def test_what_was_labeled_without_them_is_no_answer(certain: Path, video: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    plain = ["classify", str(video), "--quiet", "--model", str(certain), "--output", str(output)]
    assert CliRunner().invoke(app, plain).exit_code == 0
    refused = run(certain, video, "--output", output)
    assert refused.exit_code == 2
    assert "--no-resume" in refused.stderr


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:02,000\nrun 100%\n\n"),
        ("vtt", "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.000\nrun 100%\n\n"),
        ("ffmetadata", ";FFMETADATA1\n\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=run 100%\n"),
    ],
)
def test_a_file_beside_the_video(certain: Path, video: Path, form: str, expected: str) -> None:
    result = run(certain, video, "--format", form)
    assert result.exit_code == 0, result.stderr
    assert Path(f"{video}.vidcomp.{form}").read_text() == expected


def test_dense_views_are_refused(model: Path, video: Path) -> None:
    result = run(model, video, "--strategy", "dense30")
    assert result.exit_code == 2
    assert "moments cannot be found in dense views (dense30)" in result.stderr


def test_clips_and_a_report(certain: Path, video: Path, tmp_path: Path) -> None:
    report = tmp_path / "pages" / "report.html"
    report.parent.mkdir()
    result = run(certain, tmp_path, "--cut", tmp_path / "cut", "--report", report)
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in (tmp_path / "cut").glob("*.mp4")] == ["x.mp4.0.00-2.00 run.mp4"]
    # What was cut is no video of the folder.
    assert "x.mp4.0.00" not in run(certain, tmp_path, "--cut", tmp_path / "cut").stdout
    page = report.read_text()
    assert '<video src="../x.mp4"' in page
    assert 'data-at="0.00"' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cut", "a"], "--cut: give --moments too"),
        (["--cut-exact", "--moments"], "--cut-exact: give --cut DIR too"),
        (["--cut", "a", "--move-to", "b", "--moments"], "use --link-to"),
        (["--cut", "a", "--allow-urls", "--moments"], "what is fetched is not kept"),
    ],
)
def test_wrong_usage(model: Path, video: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["classify", str(video), "--model", str(model), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
