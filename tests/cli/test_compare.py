"""`vidcomp compare` as a user runs it, with a network so small that it costs nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from tests import clips
from vidcomp.cli import app
from vidcomp.evaluation.benchmark import make_video
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.nn.backbones import lite0_slow
from vidcomp.nn.compressors import SFC
from vidcomp.output import plots

ROW_KEYS = {
    "strategy",
    "views",
    "frames_per_view",
    "gmacs",
    "params",
    "model_ms",
    "videos_per_s",
    "end_to_end_videos_per_s",
    "peak_memory_mb",
    "fits_at_once",
    "energy_j",
    "top1",
    "agreement",
    "ratio",
}


def compare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compare", "--device", "cpu", *map(str, arguments)])


def manifest(folder: Path, *, trained: bool) -> Path:
    """A small model; its "trained" weights are random ones, saved, so that its labels are fixed."""
    content: dict[str, Any] = {
        "name": "tiny",
        "summary": "a test",
        "backbone": {"family": "lite0_slow", "classes": 2},
        "compressors": [{"cut": "res3", "kind": "sfc", "options": {"tau": 2}}],
        "labels": ["yes", "no"],
        "preprocessing": {"clip_frames": 4, "stride": 8, "short_side": 32, "crop": 32},
    }
    if trained:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            save_file(lite0_slow(2).state_dict(), folder / "backbone.safetensors")
            save_file(SFC(40).state_dict(), folder / "sfc.safetensors")
        content["backbone"]["weights"] = {"file": "backbone.safetensors"}
        content["compressors"][0]["weights"] = {"file": "sfc.safetensors"}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest(tmp_path_factory.mktemp("trained"), trained=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of the model, one that it does not know, and a broken file."""
    root = tmp_path_factory.mktemp("videos")
    for name, frames in (("yes/a.mp4", 40), ("no/b.mp4", 1), ("maybe/c.mp4", 24)):
        (root / name).parent.mkdir()
        clips.make_clip(root / name, frames, size=(64, 48))
    (root / "yes" / "broken.mp4").write_text("not a video")
    return root


@pytest.fixture
def short_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated video, a tenth as long."""
    monkeypatch.setattr("vidcomp.evaluation.evaluator.make_video", lambda path: make_video(path, 24))


def test_a_labeled_folder_with_all_that_can_be_wrong(trained: Path, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    run = compare(
        *(folder, "--model", trained, "--dense", "3", "--sfc", "--sgs", "--tau", "2", "--tau", "4"),
        *("--rounds", "2", "--format", "json", "--save", report),
    )
    assert run.exit_code == 1, run.stderr
    assert "Traceback" not in run.stderr
    for line in ("maybe is not a label of the model", "broken.mp4", "tiny: compressor 'sgs' is not in this model"):
        assert line in run.stderr
    found = json.loads(run.stdout)
    assert {"machine", "rows", "videos"} <= found.keys()
    assert [row["strategy"] for row in found["rows"]] == ["dense3", "sfc-tau2", "sfc-tau4"]
    assert found["reference"] == "dense3"
    assert found["rounds"] == 2
    assert found["machine"]["torch"] == torch.__version__
    answers = {Path(video["path"]).name: video["answers"] for video in found["videos"]}
    for row in found["rows"]:
        check_row(row, found["rows"][0])
        right = [
            answers["a.mp4"][row["strategy"]]["label"] == "yes",
            answers["b.mp4"][row["strategy"]]["label"] == "no",
        ]
        assert row["top1"] == sum(right) / 2
        assert row["top5"] == 1
        same = [
            answers[name][row["strategy"]]["label"] == answers[name]["dense3"]["label"]
            for name in "abc"
            for name in [f"{name}.mp4"]
        ]
        assert row["agreement"] == pytest.approx(sum(same) / 3)
    assert "not_video" not in answers["broken.mp4"]["dense3"]
    assert answers["broken.mp4"]["dense3"]["error"]
    check_report(report.read_text(encoding="utf-8"))


def check_row(row: dict[str, Any], dense: dict[str, Any]) -> None:
    """The keys that scripts rely on, and ratios that are dense divided by this row."""
    assert row.keys() >= ROW_KEYS
    assert row["energy_j"] is None or row["energy_j"] > 0
    for name in ("gmacs", "model_ms", "params"):
        assert row["ratio"][name] == pytest.approx(dense[name] / row[name])
    if row["peak_memory_mb"]:
        assert row["ratio"]["peak_memory_mb"] == pytest.approx(dense["peak_memory_mb"] / row["peak_memory_mb"])
    assert row["videos_per_s"] == pytest.approx(1000 / row["model_ms"])
    low, high = row["model_ms_spread"]
    assert low <= row["model_ms"] <= high
    assert row["rounds"] == 2


def check_report(html: str) -> None:
    """It stands alone, and shows every row, the disagreements' pictures, and what was said on the way."""
    # The drawing's namespaces are names; nothing is loaded.
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "<script" not in html
    assert 'name="viewport"' in html
    assert "@media print" in html
    for word in ("dense3", "sfc-tau4", "maybe is not a label", "What the columns mean", "data:image/jpeg;base64,"):
        assert word in html


def test_without_videos_speed_alone_is_measured_and_random_weights_are_told(tmp_path: Path, short_sample: None) -> None:
    run = compare("--model", manifest(tmp_path, trained=False), "--dense", "3", "--sfc", "--rounds", "1")
    assert run.exit_code == 0, run.stderr
    for line in ("no videos were given: speed, size and memory of a generated one", "random weights in dense3, sfc:"):
        assert line in run.stderr
        assert line in run.stdout
    headings = run.stdout.splitlines()[1]
    assert "model ms/video" in headings
    assert "top-1" not in headings
    assert "agrees" not in headings
    assert "≈" in run.stdout, "one round cannot tell rows apart"
    assert ": 1 video, 1 round" in run.stdout


def test_the_generated_video_is_the_papers_input(tmp_path: Path) -> None:
    from vidcomp.video import probe, target_size

    info = probe(str(make_video(tmp_path / "video.mp4")))
    assert info.frame_count == 288
    assert info.fps == 30
    assert target_size(info.width, info.height, 256) == (312, 256)


@pytest.mark.parametrize("chosen", ["csv", "markdown", "table"])
def test_other_formats_and_a_csv_of_labels(trained: Path, folder: Path, tmp_path: Path, chosen: str) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,label\n{folder}/yes/a.mp4,yes\n")
    rows = ("--dense", "3", "--whole", "--keyframes")
    run = compare(listed, "--model", trained, *rows, "--rounds", "1", "--format", chosen, "--quiet")
    assert run.exit_code == 0, run.stderr
    assert run.stderr == ""
    if chosen == "csv":
        dense, whole, keyframes = csv.DictReader(io.StringIO(run.stdout))
        assert keyframes["strategy"] == "keyframes"
        assert float(keyframes["gmacs"]) < float(whole["gmacs"])
        assert dense["strategy"] == "dense3"
        assert float(whole["ratio_gmacs"]) == pytest.approx(float(dense["gmacs"]) / float(whole["gmacs"]))
        assert whole["energy_j"] == "" or float(whole["energy_j"]) > 0
        assert whole["top1"] in ("0.0", "1.0")
    else:
        assert "top-1" in run.stdout
        assert "whole" in run.stdout


def test_an_interruption_prints_the_rows_measured_so_far(
    trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []
    time_model = StrategyRun.time_model

    def interrupt(self: StrategyRun, path: str, number: int) -> None:
        rounds.append(number)
        if len(rounds) == 4:
            raise KeyboardInterrupt
        time_model(self, path, number)

    monkeypatch.setattr(StrategyRun, "time_model", interrupt)
    run = compare(
        folder / "yes" / "a.mp4", "--model", trained, "--dense", "3", "--sfc", "--rounds", "3", "--format", "json"
    )
    assert run.exit_code == 130
    assert "interrupted" in run.stderr
    found = json.loads(run.stdout)
    assert found["interrupted"] is True
    assert [row["rounds"] for row in found["rows"]] == [2, 1]
    assert found["rows"][1]["ratio"]["model_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4"),
        (["--model", "nothing"], "unknown model"),
        (["--save", "report.pdf"], "ends in .html"),
        (["--save", "/nowhere/report.html"], "no folder"),
        (["--plot", "picture.jpg"], "ends in .png"),
        (["--dense", "10"], "clips x 3 crops"),
        (["--model", "r3d_18-sfc", "--sgs", "--random-weights"], "'sgs' is not in this model"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], message: str, short_sample: None) -> None:
    run = compare(*arguments)
    assert run.exit_code == 2, run.stderr
    assert message in run.stderr.splitlines()[-1]
    assert run.stderr.count(message) == 1
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_a_picture_without_matplotlib_is_refused_at_once_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    run = compare("--plot", "picture.png")
    assert run.exit_code == 2
    assert "pip install 'vidcomp[plots]'" in run.stderr
    assert run.stderr.count("\n") == 1
