"""`vidcomp inspect` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import clips
from vidcomp.cli import app


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    options = {"g": "20", "bf": "3", "b_strategy": "0", "sc_threshold": "0"}
    clips.make_clip(folder / "a.mp4", 50, options=options, turned=True)
    clips.make_clip(folder / "b.webm", 10, codec="libvpx-vp9")
    clips.make_sound(folder / "c.mp4")
    clips.overwrite(clips.make_clip(folder / "d.mp4", 50, size=(256, 192)), folder / "e.mp4", 0.5, 0.6)
    return folder


def test_records_say_what_files_hold(folder: Path) -> None:
    result = run(folder, "--format", "json")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "c.mp4" in result.stderr
    found = {Path(record["path"]).name: record for record in json.loads(result.stdout)}
    assert list(found) == ["a.mp4", "b.webm", "c.mp4", "d.mp4", "e.mp4"]
    first = found["a.mp4"]
    assert (first["codec"], first["frames"], first["width"], first["height"]) == ("h264", 50, 128, 96)
    assert (first["rotation"], first["gop_lengths"], first["vectors"]) == (270, [20, 20, 10], "native")
    assert 0.5 < first["share_of_b"] < 0.8
    assert first["duration_s"] == pytest.approx(2)
    assert [stream["kind"] for stream in first["streams"]] == ["video"]
    assert (first["damaged_frames"], first["notes"]) == (0, [])
    assert found["b.webm"]["vectors"] == "transcoded"
    assert found["c.mp4"]["error"]["kind"] == "no_video_stream"
    assert found["e.mp4"]["damaged_frames"] > 0


def test_what_is_printed_is_for_people(folder: Path) -> None:
    result = run(folder / "a.mp4", folder / "b.webm")
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert "shown as    128×96 pixels, 270° counter-clockwise" in lines
    assert "key frames  3, 10 to 20 frames apart" in lines
    assert "vectors     its own" in lines
    assert "vectors     from re-encoding it as MPEG-4" in lines


def test_pictures_too_wide_to_be_scaled_are_shown(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "wide.mp4", 24, size=(4096, 16), options={"g": "12", "sc_threshold": "0"})
    result = run(path)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert "shown as    4096×16 pixels" in lines
    assert "key frames  2, 12 frames apart" in lines


def test_nothing_to_inspect_is_wrong_usage(tmp_path: Path) -> None:
    result = run(tmp_path / "missing.mp4")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert run(tmp_path).exit_code == 2
