"""Standard input, output and error that are closed, full, or that nobody reads any more."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import clips, saboteur
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app
from vidcomp.cli.terminal import say, warn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")


def sh(command: str, **names: object) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which $vidcomp is the program; a pipe's exit code is the program's."""
    values = {"vidcomp": f"'{sys.executable}' -m vidcomp", **{key: f"'{value}'" for key, value in names.items()}}
    for name, value in values.items():
        command = command.replace(f"${name}", value)
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)


def in_process(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", pytest.param("2>&-", marks=pytest.mark.slow)])
def test_labels_are_written_whatever_streams_are_closed(closed: str, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48))
    model, output = make_tiny_model(tmp_path), tmp_path / "labels.jsonl"
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video")
    done = sh(f"$vidcomp classify $clip $broken --model $model --output $output {closed}",
              clip=clip, broken=broken, model=model, output=output)  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["error"] and record["error"]["kind"] for record in records] == [None, "not_video"]


@pytest.mark.parametrize("command", ["--version", "models list", "--help"])
@pytest.mark.parametrize(("output", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left")])
def test_results_without_a_place_are_one_line(command: str, output: str, why: str) -> None:
    if output == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = sh(f"$vidcomp {command} {output}")
    assert done.returncode == 2
    assert done.stderr.startswith("vidcomp: error: standard output cannot be written (")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_labels_without_a_place_are_one_line(tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48))
    command, told = ("classify", clip, "--quiet", "--model", make_tiny_model(tmp_path)), tmp_path / "told"
    assert saboteur.run(command, "", told, streams={"stdout": None}) == 2
    assert told.read_text().splitlines() == [
        "vidcomp: error: standard output cannot be written (Bad file descriptor): redirect it, or give --output FILE"
    ]


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    done = sh("{ $vidcomp models list; echo $? >&2; } | true")
    assert done.stderr in ("0\n", "1\n")


def test_a_list_on_an_input_that_is_closed_is_empty(tmp_path: Path) -> None:
    told = tmp_path / "told"
    assert saboteur.run(("classify", "-", "--quiet"), "", told, streams={"stdin": None}) == 2
    assert "Traceback" not in told.read_text()
    assert told.read_text().count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48))
    model, output = make_tiny_model(tmp_path), tmp_path / "labels.jsonl"
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video")
    command = ("classify", broken, clip, "--model", model, "--output", output)
    assert saboteur.run(command, "", tmp_path / "told", streams={"stderr": "/dev/full"}) == 1
    assert len(output.read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_output_that_takes_nothing_is_one_line(form: str, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48))
    done = in_process("classify", clip, "--model", make_tiny_model(tmp_path), "--output", "/dev/full", "--format", form)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "--output /dev/full: cannot be written (No space left on device)" in done.stderr


@pytest.mark.parametrize("name", ["n" * 260 + ".jsonl", "n" * 250 + ".jsonl", "n" * 240 + ".json"])
def test_names_of_outputs_that_are_too_long_are_one_line(name: str, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48))
    done = in_process("classify", clip, "--model", make_tiny_model(tmp_path), "--output", tmp_path / name)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "File name too long" in done.stderr


def test_a_folder_to_work_in_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, model = clips.make_clip(tmp_path / "clip.mp4", 8, size=(64, 48)), make_tiny_model(tmp_path)
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert in_process("classify", clip, "--model", model).exit_code == 0
    done = in_process("classify", clip, "--model", model, "--output", "labels.jsonl")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 80, 200, None])
def test_messages_are_wrapped_between_words_on_a_terminal_alone(
    width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if width else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", str(width or 40))
    path, facts = "/videos/" + "x" * 50 + ".mp4", "2 labeled, 0 failed, 1.7 s per video, the model takes the time"
    warn(f"{path}: the last frame was repeated 13 times")
    say(f"{facts}\n  label  videos\n  labels: {path}")
    told = stream.getvalue()
    assert (
        told.split()
        == (
            f"vidcomp: warning: {path}: the last frame was repeated 13 times "
            f"vidcomp: {facts} label videos labels: {path}"
        ).split()
    )
    lines = told.splitlines()
    assert all(len(line) <= (width or 200) or line.split() == [line.strip()] for line in lines)
    assert "  label  videos" in lines
    assert len(lines) == {40: 8, 80: 6}.get(width or 200, 4)
