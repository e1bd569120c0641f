"""The labels file survives whatever ends the program, and knows what is done."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.killed import killed_after
from tests.output.test_formats import BAD, GOOD
from vidcomp.inference.batch import Job, Known, Stamp
from vidcomp.inference.prediction import Prediction
from vidcomp.output import journal
from vidcomp.output.labels_file import FORMATS, LabelsFile, read_records
from vidcomp.output.run import OutputError, Run

DATA = Path(__file__).parent / "data"
STAMP = Stamp(1000, 1_700_000_000_123_456_789)
GROWING = ("jsonl", "csv")
ODD = 'a\nb,"c".mp4'


@pytest.fixture(params=[form for form in FORMATS if form != "parquet" or importlib.util.find_spec("pyarrow")])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


RUN = Run("m", "ab" * 32, "auto", "fp32", 2)


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


def rows(path: Path) -> list[dict[str, Any]]:
    """The records in a file, each with its ``root`` at the top."""
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    if path.suffix == ".json":
        records = json.loads(path.read_text())
    elif path.suffix == ".parquet":
        import pyarrow.parquet as pq

        records = pq.read_table(path).to_pylist()
    else:
        records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{**record, "root": (record["input"] or {}).get("root")} for record in records]


def paths(path: Path) -> list[str]:
    return [row["path"] for row in rows(path)]


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
    assert record["run"] == "m@abababababababab auto fp32 top2 min0.0"


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
        path.write_bytes(whole[:cut] + bytes(50 * (cut % 2)))
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
        ("labels.json", "[" * 100_000),
        ("labels.jsonl", '{"path": ' * 100_000 + "\n"),
    ],
)
def test_somebody_elses_file_is_left_alone(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(OutputError, match=r"not written by vidcomp.*--no-resume"):
        opened(path)
    assert path.read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_an_array_survives_a_killed_program(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with opened(path) as file:
        write(file, "x.mp4")
    killed_after(lambda: write(opened(path), "y.mp4"))
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
    monkeypatch.setattr(journal.os, "write", full)
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
    monkeypatch.setattr(journal.os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt), file:
        write(file, "y.mp4")
    assert paths(path) == ["x.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    program = (
        "import sys, time; from pathlib import Path; from vidcomp.output.journal import Lock; "
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


def test_pandas_opens_each_file_as_it_is(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    readers = {
        "l.parquet": pandas.read_parquet,
        "l.jsonl": lambda path: pandas.read_json(path, lines=True),
        "l.csv": pandas.read_csv,
    }
    for name, read in readers.items():
        with opened(tmp_path / name) as file:
            write(file, "x.mp4", "y.mp4")
        table = read(tmp_path / name)
        assert list(table.path) == ["x.mp4", "y.mp4"]
        assert set(table.label) == {"jump"}


def test_equal_names_in_two_folders_are_two_videos(form: str, tmp_path: Path) -> None:
    path, other = tmp_path / f"labels.{form}", Stamp(7, 7)
    with opened(path) as file:
        write(file, "x.mp4", root="/A")
    with opened(path) as file:
        assert file.known(job("x.mp4", "/B"), other) is None
        write(file, "x.mp4", root="/B", stamp=other, prediction=BAD)
    assert paths(path) == ["x.mp4", "x.mp4"]
    with opened(path) as file:
        assert file.known(job("x.mp4", "/A"), STAMP) == Known("jump", None)
        assert file.known(job("x.mp4", "/B"), other) == Known(None, "empty")
        # The same video by other names.
        assert file.known(job("A/x.mp4", "/"), STAMP) == Known("jump", None)
        assert file.known(job("../A/./x.mp4", "/B"), STAMP) == Known("jump", None)
        assert file.known(Job("/A/x.mp4", "/A/x.mp4"), STAMP) == Known("jump", None)
        write(file, "A/x.mp4", root="/")
    assert paths(path) == ["x.mp4", "A/x.mp4"]


def test_a_copy_is_not_what_it_is_a_copy_of(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.mp4").touch()
    with opened(path) as file:
        write(file, "x.mp4", root=str(tmp_path / "A"))
    with opened(path) as file:
        assert file.known(job("x.mp4", str(tmp_path / "B")), STAMP) is None


def test_a_folder_that_was_renamed_goes_on(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        write(file, "x.mp4", ODD, "y.mp4", root="/old")
        write(file, "bad\udcff.mp4", prediction=BAD, root="/old")
    for _ in range(2):
        with opened(path) as file:
            for name in ("x.mp4", ODD):
                assert file.known(job(name, "/new\udcff"), STAMP) == Known("jump", None)
            assert file.known(job("bad\udcff.mp4", "/new\udcff"), STAMP) == Known(None, "empty")
            assert [(job.name, record["path"]) for job, record in file.records([job("x.mp4", "/new\udcff")])] == [
                ("x.mp4", "x.mp4")
            ]
    assert len(paths(path)) == 4
    new = "/new\udcff" if form in ("json", "jsonl") else "/new\\udcff"
    assert {row["root"] for row in rows(path)} == {new, "/old"}
    with opened(path) as file:
        assert file.known(job("y.mp4", "/new\udcff"), Stamp(9, 9)) is None


def test_which_of_two_has_moved_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with opened(path) as file:
        write(file, "x.mp4", root="/A")
        write(file, "x.mp4", root="/B")
        write(file, "gone.mp4", root="/A", prediction=BAD, stamp=None)
    with opened(path) as file:
        assert file.known(job("x.mp4", "/C"), STAMP) is None
        assert file.known(job("gone.mp4", "/C"), None) is None
        write(file, "x.mp4", root="/C")
    assert paths(path) == ["x.mp4", "x.mp4", "gone.mp4", "x.mp4"]


@pytest.mark.parametrize("top_k", [2, 7])
def test_files_of_0_1_0_go_on(form: str, top_k: int, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    shutil.copy(DATA / f"written-by-0.1.0.{form}", path)
    names = ["a/x.mp4", ODD, "gone.mp4", "bad\udcff.mp4"]
    with opened(path, replace(RUN, top_k=top_k)) as file:
        known = [file.known(job(name), None if name == "gone.mp4" else STAMP) for name in names]
        assert known == [Known("jump", None)] * 2 + [Known(None, "empty")] * 2
        assert len(file.remarks()) == (top_k != 2)
        write(file, "new.mp4")
    with opened(path) as file:
        assert file.known(job("a/x.mp4"), STAMP) == Known("jump", None)
        assert file.known(job("new.mp4"), STAMP) == Known("jump", None)
        assert file.known(job("a/x.mp4", "/other"), Stamp(4, 4)) is None
        write(file, "a/x.mp4", root="/other")
    assert len(paths(path)) == 6
    shutil.copy(DATA / f"written-by-0.1.0.{form}", path)
    with pytest.raises(OutputError, match="by another model or with other settings; choose another"):
        opened(path, replace(RUN, fingerprint="cd" * 32))


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_records_of_0_1_0_get_the_keys_of_today(form: str, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'vidcomp[parquet]'")
    path = tmp_path / f"labels.{form}"
    shutil.copy(DATA / f"segments-0.1.0.{form}", path)
    with opened(path) as file:
        assert file.known(job("x.mp4"), STAMP) == Known("jump", None)
        (_, record), (_, windowed) = file.records([job("x.mp4"), job("windows.mp4")])
        assert record["attention"]["attended"] == [{"start_s": 0.0, "end_s": 0.5, "mass": 1.0, "peak_s": 0.0}]
        assert windowed["windows"][1] == {"start_s": 2.0, "end_s": 4.0, "labels": []}
        write(file, "new.mp4")
    with opened(path) as file:
        names = ["x.mp4", "windows.mp4", "new.mp4"]
        before, windowed, new = (record for _, record in file.records(map(job, names)))
    assert list(before["attention"]) == list(new["attention"])
    assert before["attention"]["times_s"] == [0.0, 1.0, 2.0, 3.0]
    assert [part["start_s"] for part in windowed["windows"]] == [0.0, 2.0]
    if form == "jsonl":
        assert '"segments"' not in path.read_text()


def test_a_journal_of_0_1_0_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    shutil.copy(DATA / "killed-0.1.0.json.journal.jsonl", tmp_path / "labels.json.journal.jsonl")
    with opened(path) as file:
        assert file.known(job("a/x.mp4"), STAMP) == Known("jump", None)
    assert [record["input"] and record["input"].get("root") for record in json.loads(path.read_text())] == [
        "/videos",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "model m, not other"),
        ({"fingerprint": "cd" * 32}, "other weights, compressor or settings of m"),
        ({"strategy": "every10.0s"}, "strategy auto, not every10.0s"),
        ({"precision": "bf16"}, "precision fp32, not bf16"),
    ],
)
def test_labels_of_another_model_or_settings_are_not_replaced(
    change: dict[str, str], said: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path) as file:
        write(file, "x.mp4")
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"made with {said}; choose another --output, or --no-resume to start over"):
        opened(path, replace(RUN, **change))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with opened(path, replace(RUN, **change), resume=False) as file:
        assert file.known(job("x.mp4"), STAMP) is None


def test_what_another_machine_computed_in_its_own_precision_stays(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path, replace(RUN, precision="bf16")) as file:
        write(file, "x.mp4")
    with opened(path, any_precision=True) as file:
        assert file.known(job("x.mp4"), STAMP) == Known("jump", None)
        (remark,) = file.remarks()
        assert "1 of the videos labeled before were computed in another precision than fp32" in remark
        write(file, "y.mp4")
    with pytest.raises(OutputError, match="precision bf16, not fp32"):
        opened(path)


def test_which_labels_are_shown_can_be_changed_later(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    with opened(path, replace(RUN, top_k=1)) as file:
        write(file, "x.mp4")
        write(file, "bad.mp4", prediction=BAD)
    shown = {}
    for name, view in {"two": {"top_k": 2}, "sure": {"min_probability": 0.8}, "one": {"top_k": 1}}.items():
        with opened(path, replace(RUN, **view)) as file:
            best = None if name == "sure" and form != "csv" else "jump"
            if form != "csv":
                assert file.known(job("x.mp4"), STAMP) == Known(best, None)
                assert file.remarks() == []
            elif name != "one":
                file.known(job("x.mp4"), STAMP)
                assert "1 of the videos labeled before have only the labels" in file.remarks()[0]
        record = next(record for record in read_records(path) if record["path"] == "x.mp4")
        shown[name] = [label["label"] for label in record["labels"]]
    if form != "csv":
        assert shown == {"two": ["jump", "run"], "sure": [], "one": ["jump"]}
        assert record["label"] == "jump"
        assert [label["label"] for label in record["other_labels"]] == ["run"]


def test_labels_that_do_not_say_what_made_them_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"path": "x.mp4", "labels": [], "error": None}) + "\n")
    with pytest.raises(OutputError, match="made without --output"):
        opened(path)


def killed(path: Path, *begun: str, alone: bool = False) -> None:
    """What a program leaves that is killed while it works on these videos."""

    def work() -> None:
        file = opened(path)
        for name in begun:
            file.begin(job(name), STAMP, alone=alone)

    killed_after(work)


def test_videos_that_were_in_the_works_when_the_program_died_are_remembered(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{form}"
    killed(path, "x.mp4", "y.mp4")
    with opened(path) as file:
        deaths = [file.deaths(job(name), STAMP) for name in ("x.mp4", "y.mp4", "z.mp4")]
        assert deaths == [1, 1, 0]
        assert file.deaths(job("x.mp4"), Stamp(8, 8)) == 0
        assert file.known(job("x.mp4"), STAMP) is None
        assert "killed while it worked on 1 of these videos" in file.remarks()[0]
        write(file, "y.mp4")
    # The end in good order clears none but those that are done.
    killed(path, "x.mp4", alone=True)
    with opened(path) as file:
        deaths = [file.deaths(job(name), STAMP) for name in ("x.mp4", "y.mp4")]
        assert deaths == [2, 0]
        write(file, "x.mp4", prediction=BAD)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    killed(path, "x.mp4")
    with opened(path, resume=False) as file:
        assert file.deaths(job("x.mp4"), STAMP) == 0


@pytest.mark.parametrize("left", [b"", b"[]", b'{"x": 3}', b"\xff"])
def test_a_note_that_cannot_be_read_or_written_stops_nothing(left: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    note = tmp_path / ".labels.jsonl.inprogress"
    note.write_bytes(left)
    with opened(path) as file:
        assert file.deaths(job("x.mp4"), STAMP) == 0
        note.unlink()
        note.mkdir()
        file.begin(job("x.mp4"), STAMP, alone=False)
        write(file, "x.mp4")
    assert paths(path) == ["x.mp4"]
