"""A folder labeled in several goes, as a user runs it."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests import clips, saboteur
from tests.killed import killed_after
from tests.output.test_formats import GOOD
from vidcomp.cli import app, terminal
from vidcomp.inference.batch import Job, RunStats, stamp_of
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.inference.runner import Runner
from vidcomp.output.labels_file import LabelsFile
from vidcomp.output.run import Run as LabelsRun
from vidcomp.video import ERRORS
from vidcomp.zoo.manifest import read_manifest
from vidcomp.zoo.weights import fingerprint

Run = Callable[..., Result]


@pytest.fixture
def run(model: Path) -> Run:
    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["classify", *map(str, arguments), "--model", str(model)])

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for place in ("a", "b"):
        (root / place).mkdir(parents=True)
        clips.make_clip(root / place / "x.mp4", 20, size=(64, 48))
    (root / "b" / "broken.mp4").write_text("not a video")
    (root / "notes.txt").write_text("not a video either")
    return root


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_done_is_skipped_and_what_changed_is_not(folder: Path, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    first = run(folder, "--output", output)
    assert first.exit_code == 1, first.stderr
    assert [record["path"] for record in records(output)] == ["a/x.mp4", "b/broken.mp4", "b/x.mp4"]
    assert "2 labeled, 1 failed" in first.stderr
    assert "not_video       1" in first.stderr
    written = output.read_bytes()
    again = run(folder, "--output", output)
    assert (again.exit_code, output.read_bytes()) == (1, written)
    assert "3 of them done before" in again.stderr

    clips.make_clip(folder / "a" / "x.mp4", 30, size=(64, 48))
    clips.make_clip(folder / "b" / "broken.mp4", 10, size=(64, 48))
    clips.make_clip(folder / "new.mp4", 10, size=(64, 48))
    assert run(folder, "--output", output, "--quiet").exit_code == 0
    assert [record["path"] for record in records(output)] == ["b/x.mp4", "a/x.mp4", "b/broken.mp4", "new.mp4"]
    fewer = run(folder, "--output", output, "--top-k", 1, "--limit", 1)
    assert fewer.exit_code == 0
    assert [len(record["labels"]) for record in records(output)] == [1, 1, 1, 1]  # type: ignore[arg-type]
    assert run(folder, "--output", output, "--top-k", 3, "--quiet").exit_code == 0
    assert [len(record["labels"]) for record in records(output)] == [3, 3, 3, 3]  # type: ignore[arg-type]
    other = run(folder, "--output", output, "--every", "1s")
    assert other.exit_code == 2
    assert "made with strategy auto, not every1s; choose another --output, or --no-resume" in other.stderr
    assert [record["strategy"] for record in records(output)] == ["whole"] * 4
    assert run(folder, "--output", output, "--no-resume", "--include", "new*").exit_code == 0
    assert len(records(output)) == 1


def test_failed_ones_are_taken_again_only_if_asked(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = Classifier.batches

    def noting(self: Classifier, paths: Iterable[str], **options: Any) -> Generator[list[Prediction]]:
        return real(self, (seen.append(path) or path for path in paths), **options)

    monkeypatch.setattr(Classifier, "batches", noting)
    for options in ([], [], ["--retry-errors"]):
        run(folder, "--output", tmp_path / "labels.csv", *options)
    assert [Path(path).name for path in seen] == ["x.mp4", "broken.mp4", "x.mp4", "broken.mp4"]


def test_all_files_passes_over_what_is_no_video(folder: Path, run: Run) -> None:
    (folder / "video.bin").write_bytes((folder / "a" / "x.mp4").read_bytes())
    found = run(folder, "--all-files", "--exclude", "broken*", "--format", "jsonl")
    assert found.exit_code == 0, found.stderr
    names = [Path(json.loads(line)["path"]).name for line in found.stdout.splitlines()]
    assert names == ["x.mp4", "x.mp4", "video.bin"]
    assert "1 skipped" in found.stderr


def test_shards_together_are_the_whole(folder: Path, run: Run) -> None:
    names: list[str] = []
    for shard in ("1/3", "2/3", "3/3"):
        part = run(folder, "--shard", shard, "--format", "jsonl", "--quiet")
        names += [json.loads(line)["path"] for line in part.stdout.splitlines()]
    assert sorted(names) == sorted(str(folder / name) for name in ("a/x.mp4", "b/broken.mp4", "b/x.mp4"))


def test_windows_subtitles_and_sorting(folder: Path, run: Run, tmp_path: Path) -> None:
    good = (folder / "a", "--every", "300ms")
    windows = run(*good, "--format", "json", "--link-to", tmp_path / "sorted")
    (record,) = json.loads(windows.stdout)
    assert [part["start_s"] for part in record["windows"]] == [0.0, 0.3, 0.6]
    assert record["strategy"] == "every0.3s"
    (link,) = (tmp_path / "sorted" / record["labels"][0]["label"]).iterdir()
    assert link.resolve() == folder / "a" / "x.mp4"
    assert run(*good, "--format", "srt").stderr.endswith(f"subtitles: {folder / 'a' / 'x.mp4'}.vidcomp.srt\n")
    assert (folder / "a" / "x.mp4.vidcomp.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:00,300\n")
    assert run(folder / "a" / "x.mp4", "--output", tmp_path / "x.vtt").exit_code == 0
    assert (tmp_path / "x.vtt").read_text().startswith("WEBVTT")
    inside = run(folder, "--move-to", folder / "done", "--output", tmp_path / "l.jsonl", "--min-probability", "0.01")
    assert inside.exit_code == 1
    assert sorted(path.name for path in (folder / "done").rglob("*.mp4")) == ["x (2).mp4", "x.mp4"]
    assert [record["path"] for record in records(tmp_path / "l.jsonl")] == ["a/x.mp4", "b/broken.mp4", "b/x.mp4"]


def test_a_video_without_a_probable_label(folder: Path, run: Run) -> None:
    for form in ("table", "jsonl", "csv"):
        result = run(folder / "a", folder / "b" / "x.mp4", "--min-probability", "1", "--format", form)
        assert result.exit_code == 0, result.stderr
        assert "(none probable enough)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a video"),
        (["http://there/x.mp4"], "give --allow-urls"),
        (["ftp://there/x.mp4", "--allow-urls"], "only local files"),
        (["{folder}", "--allow-urls", "--move-to", "{folder}"], "--move-to and --allow-urls"),
        (["{folder}", "--include", "*.nothing"], "leave none"),
        (["{folder}", "--shard", "3/2"], "--shard"),
        (["{folder}", "--every", "often"], "--every often"),
        (["{folder}", "--window", "5s"], "give --every"),
        (["{folder}", "--every", "5s", "--window", "2s"], "leave gaps"),
        (["{folder}", "--every", "5s", "--clips", "2"], "choose one"),
        (["{folder}", "--every", "5s", "--strategy", "dense30"], "choose one"),
        (["{folder}", "--strategy", "whole", "--clips", "2"], "choose one"),
        (["{folder}", "--clip-frames", "8"], "give --clips"),
        (["{folder}", "--strategy", "half"], "--strategy half: unknown strategy"),
        (["{folder}", "--strategy", "whole", "--compressor", "sfc"], "uncompressed network, but --compressor sfc"),
        (["{folder}", "--compressor", "none", "--tau", "4"], "--tau 4 is the compression ratio of SFC, and nothing"),
        (["{folder}", "--every", "5s", "--output", "l.csv"], "CSV has no place"),
        (["{folder}", "--format", "parquet"], "--output FILE"),
        (["{folder}", "--move-to", "a", "--link-to", "b"], "choose one"),
        (["{folder}", "--output", "{folder}/notes.txt", "--format", "jsonl"], "not written by vidcomp"),
        (["{folder}", "--output", "l.jsonl", "--format", "csv"], "the extension names another format"),
        (["{folder}", "--output", "{folder}/a/x.mp4", "--format", "csv", "--no-resume"], "one of the videos or lists"),
        (["{folder}", "--report", "{folder}/a/x.mp4"], "ends in .html"),
        (["{folder}/page.html", "--report", "{folder}/page.html"], "one of the videos or lists"),
        (["--files-from", "{folder}/notes.txt", "--output", "{folder}/notes.txt", "--format", "csv"], "or lists"),
        (["{folder}", "--output", "{folder}/nowhere/l.jsonl"], "cannot be written (No such file or directory)"),
    ],
)
def test_wrong_usage(folder: Path, run: Run, arguments: list[str], message: str) -> None:
    (folder / "page.html").touch()
    result = run(*(argument.format(folder=folder) for argument in arguments))
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_unforeseen_is_one_videos_error(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Runner, "encode", fail)
    for options, traced in (([], False), (["--debug"], True)):
        result = run(folder / "a", folder / "b" / "x.mp4", "--format", "jsonl", *options)
        assert result.exit_code == 1
        assert [json.loads(line)["error"]["kind"] for line in result.stdout.splitlines()] == ["internal"] * 2
        assert ("Traceback" in result.stderr) == traced


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_run_in_good_order(
    number: int, code: int, folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Classifier.batches

    def interrupted(self: Classifier, paths: Iterable[str], **options: Any) -> Generator[list[Prediction]]:
        for batch in real(self, paths, **options):
            yield batch
            os.kill(os.getpid(), number)
            time.sleep(1)

    monkeypatch.setattr(Classifier, "batches", interrupted)
    # A test run in the background may have been told to ignore interrupts, which vidcomp then rightly does too.
    inherited = signal.signal(number, signal.default_int_handler)
    try:
        for name in ("labels.jsonl", "labels.json"):
            result = run(folder, "--output", tmp_path / name)
            assert result.exit_code == code
            assert result.stderr.splitlines()[-1].endswith("run the same command again to continue")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, inherited)
    assert [record["path"] for record in records(tmp_path / "labels.jsonl")] == ["a/x.mp4"]
    assert [record["path"] for record in json.loads((tmp_path / "labels.json").read_text())] == ["a/x.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_one_line(folder: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    earlier = LabelsRun("tiny", fingerprint(read_manifest(model)), "auto", "fp32", 5)
    with LabelsFile(output, "jsonl", run=earlier) as file:
        # The limit holds for shared memory, too, which needs a few thousand bytes.
        for number in range(100):
            file.write(Job("", f"{number}.mp4"), replace(GOOD, path=f"{number}.mp4"), None)
    before = len(records(output))
    command = ["classify", folder, "--model", model, "--output", output, "--quiet"]
    limit = output.stat().st_size + 900  # bytes: one record fits, two do not
    assert saboteur.run(command, "", tmp_path / "told", largest_file=limit) == 2
    told = (tmp_path / "told").read_text()
    assert "writing stopped" in told
    assert told.count("\n") == 1
    assert [record["path"] for record in records(output)[before:]] == ["a/x.mp4"]


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    with terminal.batch_progress(RunStats(10)) as advance:
        advance()
        now += 60
        advance()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"vidcomp: \d\d:\d\d:\d\d 0 of 10 done, 0 failed", line)


def test_every_kind_of_error_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/record.md").read_text()
    for kind in (*ERRORS, "internal", "unwritable"):
        assert f"`{kind}`" in page


def test_addresses_are_labeled_where_allowed_and_named_by_themselves(folder: Path, run: Run, tmp_path: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        names = [f"{root}/{name}" for name in ("a/x.mp4", "b/broken.mp4", "gone.mp4")]
        output = tmp_path / "labels.jsonl"
        first = run(*names, "--allow-urls", "--output", output)
        again = run(*names, "--allow-urls", "--output", output)
        server.shutdown()
    assert first.exit_code == 1, first.stderr
    found = {str(record["path"]): record for record in records(output)}
    assert list(found) == names
    kinds = [record["error"] and record["error"]["kind"] for record in found.values()]  # type: ignore[index]
    assert kinds == [None, "not_video", "unreachable"]
    assert f"{names[1]}: not a video" in first.stderr
    assert "3 of them done before" in again.stderr


def test_two_folders_in_one_output_and_both_at_once(folder: Path, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    for name in ("a", "b"):
        run(folder / name, "--output", output)
    expected = [(str(folder / name), path) for name, path in (("a", "x.mp4"), ("b", "broken.mp4"), ("b", "x.mp4"))]
    assert [(record["input"]["root"], record["path"]) for record in records(output)] == expected  # type: ignore[index]
    both = run(folder / "a", folder / "b", folder, "--output", output, "--report", tmp_path / "report.html")
    assert "of them done before" in both.stderr
    assert len(records(output)) == 3
    assert (tmp_path / "report.html").read_text().count("<li data-name=") == 3

    before = output.read_bytes()
    assert run(folder / "a", "--output", output, "--paths", "absolute").exit_code == 0
    assert output.read_bytes() == before
    absolute = run(folder / "b", "--output", tmp_path / "absolute.jsonl", "--paths", "absolute", "--exclude", "broken*")
    assert absolute.exit_code == 0
    (record,) = records(tmp_path / "absolute.jsonl")
    assert (record["path"], record["input"]["root"]) == (str(folder / "b" / "x.mp4"), None)  # type: ignore[index]

    folder.rename(tmp_path / "renamed")
    (tmp_path / "renamed" / "b" / "x.mp4").unlink()
    moved = run(tmp_path / "renamed" / "a", "--output", output)
    assert moved.exit_code == 0
    assert [record["input"]["root"] for record in records(output)] == [  # type: ignore[index]
        str(tmp_path / "renamed" / "a"),
        str(folder / "b"),
        str(folder / "b"),
    ]


def test_a_video_that_killed_the_program_twice_gets_its_record(folder: Path, run: Run, model: Path) -> None:
    output = folder / "labels.jsonl"
    earlier = LabelsRun("tiny", fingerprint(read_manifest(model)), "auto", "fp32", 5)
    for alone in (False, True):

        def work(alone: bool = alone) -> None:
            file = LabelsFile(output, "jsonl", run=earlier)
            for name in ("a/x.mp4", "b/x.mp4") if not alone else ("a/x.mp4",):
                file.begin(Job("", name, root=str(folder)), stamp_of(str(folder / name)), alone=alone)

        killed_after(work)
    result = run(folder, "--output", output)
    assert result.exit_code == 1
    assert "vidcomp was killed while it worked on 2 of these videos" in result.stderr
    assert "a/x.mp4: vidcomp was killed twice while it worked on this video" in result.stderr
    kinds = [(record["path"], record["error"] and record["error"]["kind"]) for record in records(output)]  # type: ignore[index]
    assert kinds == [("b/broken.mp4", "not_video"), ("a/x.mp4", "crashed"), ("b/x.mp4", None)]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert "3 of them done before" in run(folder, "--output", output).stderr


def test_what_cannot_be_put_somewhere_is_told_and_the_others_go_on(folder: Path, run: Run, tmp_path: Path) -> None:
    (folder / "a" / "x.mp4.vidcomp.srt").mkdir()
    subtitles = run(folder / "a", folder / "b", "--exclude", "broken*", "--format", "srt")
    assert subtitles.exit_code == 1
    assert "x.mp4: its subtitles cannot be written to" in subtitles.stderr
    assert "unwritable       1" in subtitles.stderr
    assert (folder / "b" / "x.mp4.vidcomp.srt").is_file()

    (tmp_path / "sorted").write_text("in the way")
    moved = run(folder / "a" / "x.mp4", folder / "b" / "x.mp4", "--format", "jsonl", "--move-to", tmp_path / "sorted")
    assert moved.exit_code == 1
    assert len(moved.stdout.splitlines()) == 2
    assert moved.stderr.count("x.mp4 cannot be put there") == 2
    assert (folder / "a" / "x.mp4").is_file()
