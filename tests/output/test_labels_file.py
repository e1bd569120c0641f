"""The labels file survives whatever ends the program, and knows what is done."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.output.test_writers import BAD, GOOD
from vidcomp.inference.batch import Job, Known, Stamp
from vidcomp.inference.prediction import Prediction
from vidcomp.output import log
from vidcomp.output.errors import OutputError
from vidcomp.output.labels_file import FORMATS, LabelsFile
from vidcomp.output.run import Run

STAMP = Stamp(1000, 1_700_000_000_123_456_789)
GROWING = ("jsonl", "csv")
ODD = 'a\nb,"c".mp4'


@pytest.fixture(params=[form for form in FORMATS if form != "parquet" or importlib.util.find_spec("pyarrow")])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


RUN = Run("m", "ab" * 32, "auto", "float32", 2)


def opened(path: Path, run: Run = RUN, **options: Any) -> LabelsFile:
    return LabelsFile(path, path.suffix[1:], run=run, **options)


def job(name: str, root: str = "/videos") -> Job:
    return Job(f"{root}/{name}", name, root=root)


def write(
    file: LabelsFile,
    *names: str,
    prediction: Prediction = GOOD,
    stamp: Stamp | None = STAMP,
    root: str = "/videos",
) -> None:
    for name in names:
        file.write(job(name, root), replace(prediction, path=name), stamp)


def paths(path: Path) -> list[str]:
    if path.suffix == ".csv":
        return [row["path"] for row in csv.DictReader(io.StringIO(path.read_text(), newline=""))]
    if path.suffix == ".json":
        return [record["path"] for record in json.loads(path.read_text())]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path).column("path").to_pylist())
    return [json.loads(line)["path"] for line in path.read_text().splitlines()]


def test_what_is_done_is_known_in_the_next_run(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        assert file.known(job("x.mp4"), STAMP) is None
        write(file, "x.mp4", ODD)
        write(file, "bad.mp4", prediction=BAD)
        write(file, "gone.mp4", prediction=BAD, stamp=None)
    with opened(path) as file:
        assert file.known(job("x.mp4"), STAMP) == Known("jump", None)
        assert file.known(job(ODD), STAMP) == Known("jump", None)
        assert file.known(job("bad.mp4"), STAMP) == Known(None, "empty")
        assert file.known(job("gone.mp4"), None) == Known(None, "empty")
        for changed in (Stamp(1001, STAMP.mtime_ns), Stamp(1000, 5), None):
            assert file.known(job("x.mp4"), changed) is None
        write(file, "y.mp4")
    assert paths(path) == ["x.mp4", ODD, "bad.mp4", "gone.mp4", "y.mp4"]
    with opened(path, retry_errors=True) as file:
        assert file.known(job("bad.mp4"), STAMP) is None
        assert file.known(job("x.mp4"), STAMP) is not None
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


def test_a_newer_record_supersedes_the_older(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        write(file, "x.mp4", "y.mp4")
    with opened(path) as file:
        write(file, "x.mp4", stamp=Stamp(5, 5))
    assert paths(path) == ["y.mp4", "x.mp4"]


def test_starting_over(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        write(file, "x.mp4", "y.mp4")
    with opened(path, resume=False) as file:
        assert file.known(job("x.mp4"), STAMP) is None
        write(file, "z.mp4")
    assert paths(path) == ["z.mp4"]


def test_the_contracts_keys_and_two_more(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with opened(path) as file:
        write(file, "x.mp4")
    record = json.loads(path.read_text())
    assert list(record)[:6] == ["path", "status", "error", "labels", "model", "strategy"]
    assert record["input"] == {"root": "/videos", "size": 1000, "mtime_ns": 1_700_000_000_123_456_789}
    assert record["run"] == "m@abababababababab auto float32 top2 min0.0"


@pytest.mark.parametrize("form", GROWING)
def test_a_half_written_record_is_dropped_wherever_it_was_cut(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        write(file, "x.mp4")
    first = path.stat().st_size
    with opened(path) as file:
        write(file, ODD)
    whole = path.read_bytes()
    for cut in range(first, len(whole)):
        for tail in (b"", bytes(50)):
            path.write_bytes(whole[:cut] + tail)
            with opened(path) as file:
                assert file.known(job(ODD), STAMP) is None
            assert path.read_bytes() == whole[:first]
    for cut in range(len(whole) - first):  # in the header, too
        path.write_bytes(whole[: min(cut, first - 1)])
        with opened(path) as file:
            write(file, "z.mp4")
        assert paths(path) == ["z.mp4"]


def test_a_hole_from_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with opened(path) as file:
        write(file, "x.mp4", "y.mp4", "z.mp4")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + bytes(len(lines[1]) - 20) + lines[1][-20:] + lines[2])
    with opened(path) as file:
        assert file.known(job("y.mp4"), STAMP) is None
        write(file, "y.mp4")
    assert paths(path) == ["x.mp4", "z.mp4", "y.mp4"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.jsonl", "a shopping list"),
        ("labels.jsonl", "a shopping list\n"),
        ("labels.jsonl", '{"path": 3}\n'),
        ("labels.jsonl", '{"path": "x.mp4", "cut\nmore\n'),
        ("labels.csv", "name,price\nmilk,1\n"),
        ("labels.json", '{"a": 1}'),
        ("labels.json", "[1, 2]"),
    ],
)
def test_somebody_elses_file_is_left_alone(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(OutputError, match=r"none that vidcomp wrote.*--no-resume"):
        opened(path)
    assert path.read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_an_array_survives_a_killed_program(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with opened(path) as file:
        write(file, "x.mp4")
    killed = opened(path)
    write(killed, "y.mp4")
    killed._log.close()
    os.close(killed._lock._handle)
    assert paths(path) == ["x.mp4"]
    with opened(path) as file:
        assert file.known(job("y.mp4"), STAMP) is not None
        write(file, "z.mp4")
    assert paths(path) == ["x.mp4", "y.mp4", "z.mp4"]
    assert [entry.name for entry in tmp_path.iterdir() if "journal" in entry.name] == []


def test_an_array_of_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "labels.json"):
        pass
    assert json.loads((tmp_path / "labels.json").read_text()) == []


def test_two_at_once_are_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        with pytest.raises(OutputError, match="another vidcomp is writing it"):
            opened(path)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(OutputError, match="another vidcomp"):
            LabelsFile(tmp_path / "link", form, run=RUN)
        write(file, "x.mp4")
    with opened(path):
        pass


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OutputError, match="this is a folder"):
        opened(tmp_path / "folder.jsonl")
    with pytest.raises(OutputError, match="cannot be written"):
        opened(tmp_path / "nowhere" / "labels.jsonl")


@pytest.mark.parametrize("form", GROWING)
@pytest.mark.parametrize("taken", [0, 1, 100])
def test_a_full_disk_leaves_whole_records(
    form: str, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"labels.{form}"
    real = os.write

    def full(handle: int, data: memoryview) -> int:
        if taken and len(data) > 200:
            return real(handle, data[:taken])
        raise OSError(28, "No space left on device")

    file = opened(path)
    write(file, "x.mp4")
    before = path.read_bytes()
    monkeypatch.setattr(log.os, "write", full)
    with pytest.raises(OutputError, match="No space left"), file:
        write(file, "long" * 100 + ".mp4")
    monkeypatch.undo()
    assert path.read_bytes() == before
    with opened(path) as file:
        assert file.known(job("x.mp4"), STAMP) is not None


def test_an_interrupt_in_the_middle_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.jsonl"
    real: Callable[[int, bytes], int] = os.write

    def interrupted(handle: int, data: memoryview) -> int:
        real(handle, data[: len(data) // 2])
        raise KeyboardInterrupt

    file = opened(path)
    write(file, "x.mp4")
    monkeypatch.setattr(log.os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt), file:
        write(file, "y.mp4")
    assert paths(path) == ["x.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    program = (
        "import sys, time; from pathlib import Path; from vidcomp.output.lock import Lock; "
        "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutputError, match="another vidcomp"):
            opened(path)
        holder.send_signal(signal.SIGKILL)
    with opened(path):
        pass


def test_parquet_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"pip install 'vidcomp\[parquet\]'"):
        opened(tmp_path / "labels.parquet")


def test_parquet_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'vidcomp[parquet]'")
    path = tmp_path / "labels.parquet"
    with opened(path) as file:
        write(file, "x.mp4", "bad\udcff.mp4")
    with opened(path) as file:
        assert file.known(job("bad\udcff.mp4"), STAMP) == Known("jump", None)
        write(file, "y.mp4")
    assert paths(path) == ["x.mp4", "bad\\udcff.mp4", "y.mp4"]
