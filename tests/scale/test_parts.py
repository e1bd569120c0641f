"""A folder of results: whole parts, nothing twice, whatever ends the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.killed import killed_after
from tests.scale.conftest import Bucket
from vidcomp.inference.batch import Known
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Timing
from vidcomp.output.run import OutputError
from vidcomp.scale.archive import Recorder
from vidcomp.scale.listing import ListedJob
from vidcomp.scale.parts import CLAIMED, FORMATS, Parts

RUN = "m@0123456789abcdef whole fp32 top5 min0.0"


def job(number: int, **extra: Any) -> ListedJob:
    return ListedJob(f"/videos/{number}.mp4", f"{number}.mp4", root="/videos", extra=extra)


def record(number: int, error: str | None = None, **extra: Any) -> dict[str, Any]:
    labels = () if error else (Label("jump", 0, 0.75), Label("run", 1, 0.25))
    failure = Failure(error, "why") if error else None
    timing = Timing(0.0, 0.0)
    prediction = Prediction("?", "m", "whole", labels, FrameCounts(1, 1, 0, 1.0), timing, error=failure)
    recorder = Recorder(RUN, 5, prediction)
    one = job(number, **extra)
    return {**recorder(one, prediction, None)[0], "path": one.name}


def begun(folder: Path | str, form: str, **options: Any) -> Parts:
    """Parts that have heard of the run."""
    parts = Parts(str(folder), form, **options)
    parts.check(RUN)
    return parts


def table(folder: Path, form: str) -> pd.DataFrame:
    """All parts, as a user reads them."""
    files = sorted(folder.glob(f"*.{form}"))
    read = pd.read_parquet if form == "parquet" else lambda file: pd.read_json(file, lines=True)
    return pd.concat([read(file) for file in files], ignore_index=True)


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_parts_hold_what_was_written_and_are_known_again(tmp_path: Path, form: str) -> None:
    out = tmp_path / "a" / "out"
    with begun(out, form, rows=3) as parts:
        for number in range(8):
            assert parts.claim(job(number)) is None
            assert parts.claim(job(number)) is CLAIMED
            parts.write(record(number, "truncated" if number == 5 else None))
        assert len(list(out.glob("part-*"))) == 2
    frame = table(out, form)
    assert len(list(out.glob("part-*"))) == 3
    assert list(frame["path"]) == [f"{number}.mp4" for number in range(8)]
    assert frame["label"].value_counts().to_dict() == {"jump": 7}
    assert frame["probability"][0] == 0.75
    assert frame["labels"][0][1]["label"] == "run"
    assert frame["input"][0]["root"] == "/videos"
    with Parts(str(out), form) as parts:
        parts.check(RUN)
        assert parts.claim(job(1)) == Known("jump", None)
        assert parts.claim(job(1)) is CLAIMED  # named twice, it counts once
        assert parts.claim(job(5)) == Known(None, "truncated")
        assert parts.claim(job(8)) is None
    assert len(table(out, form)) == 8


def test_columns_of_a_manifest_keep_their_types(tmp_path: Path) -> None:
    columns = {"camera": pa.int64(), "when": pa.timestamp("s")}
    when = pd.Timestamp("2026-01-02").to_pydatetime()
    with begun(tmp_path, "parquet", columns=columns) as parts:
        parts.write(record(0, camera=3, when=when))
        parts.write(record(1))
    frame = table(tmp_path, "parquet")
    assert frame["camera"].isna().tolist() == [False, True]
    assert (frame["camera"][0], frame["when"][0]) == (3, when)
    with pytest.raises(OutputError, match="other columns; choose another --output"):
        Parts(str(tmp_path), "parquet")
    with pytest.raises(OutputError, match="another format"):
        Parts(str(tmp_path), "jsonl", columns=columns)
    with begun(tmp_path / "lines", "jsonl", columns=columns) as parts:
        parts.write(record(0, camera=3, when=when))
    assert table(tmp_path / "lines", "jsonl")["when"][0] == str(when)


def test_a_program_that_is_killed_leaves_whole_parts_and_no_litter(tmp_path: Path, form: str) -> None:
    def work() -> None:
        parts = begun(tmp_path, form, rows=2)
        for number in range(5):
            parts.write(record(number))

    killed_after(work)
    assert len(table(tmp_path, form)) == 4
    assert list(tmp_path.glob(".*.new"))
    with Parts(str(tmp_path), form) as parts:
        assert not list(tmp_path.glob(".*.new"))
        assert [parts.claim(job(number)) is None for number in range(5)] == [False] * 4 + [True]
        parts.write(record(4))
    assert sorted(table(tmp_path, form)["path"]) == [f"{number}.mp4" for number in range(5)]


def test_errors_are_tried_again_where_that_is_asked_for(tmp_path: Path, form: str) -> None:
    with begun(tmp_path, form, rows=2) as parts:
        for number, error in enumerate((None, "crashed", "timeout", "empty", None)):
            parts.write(record(number, error))
    with Parts(str(tmp_path), form, retry_errors=True) as parts:
        assert len(list(tmp_path.glob("part-*"))) == 2  # one of them held errors alone
        todo = [number for number in range(5) if parts.claim(job(number)) is None]
        assert todo == [1, 2, 3]
        for number in todo:
            parts.write(record(number))
    frame = table(tmp_path, form)
    assert sorted(frame["path"]) == [f"{number}.mp4" for number in range(5)]
    assert set(frame["status"]) == {"ok"}


def test_another_run_is_refused_and_starting_over_is_not(tmp_path: Path) -> None:
    with Parts(str(tmp_path), "parquet") as parts:
        parts.check(RUN)
        parts.write(record(0))
    for other, why in ((RUN.replace("whole", "sfc"), "strategy whole, not sfc"), ("n" + RUN, "model m, not nm")):
        with Parts(str(tmp_path), "parquet") as parts, pytest.raises(OutputError, match=why):
            parts.check(other)
    with Parts(str(tmp_path), "parquet", any_precision=True) as parts:
        parts.check(RUN.replace("fp32", "bf16"))
    with Parts(str(tmp_path), "jsonl", resume=False) as parts:
        parts.check("n" + RUN)
        assert parts.claim(job(0)) is None
    assert not list(tmp_path.glob("part-*"))


def test_shares_have_their_own_parts_and_know_each_others(tmp_path: Path) -> None:
    with begun(tmp_path, "jsonl", share="1/2") as one, begun(tmp_path, "jsonl", share="2/2") as two:
        one.write(record(0))
        two.write(record(1))
        with pytest.raises(OutputError, match="another vidcomp is writing it"):
            Parts(str(tmp_path), "jsonl", share="2/2")
    with Parts(str(tmp_path), "jsonl", share="1/3") as parts:
        assert [parts.claim(job(number)) is None for number in range(3)] == [False, False, True]
    with Parts(str(tmp_path), "jsonl", share="1/2", resume=False):
        assert [path.name[:10] for path in tmp_path.glob("part-*")] == ["part-2of2-"]


def test_a_part_is_published_when_it_is_old(tmp_path: Path) -> None:
    with Parts(str(tmp_path), "jsonl", seconds=0.0) as parts:
        parts.write(record(0))
        assert len(table(tmp_path, "jsonl")) == 1


def test_a_disk_that_is_full_keeps_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = begun(tmp_path, "jsonl")
    parts.write(record(0))
    parts.publish()
    parts.write(record(1))
    monkeypatch.setattr(Path, "replace", _full)
    with pytest.raises(OutputError, match=r"No space left on device.*run the same command again") as raised:
        parts.publish()
    parts.__exit__(OutputError, raised.value, None)
    assert len(table(tmp_path, "jsonl")) == 1
    assert not list(tmp_path.glob(".*.new"))


def _full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("place", ["file/out", "file"])
def test_places_that_are_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot be used \("):
        Parts(str(tmp_path / place), "jsonl")


def test_parts_of_an_unknown_run_are_not_mixed_with(tmp_path: Path) -> None:
    with Parts(str(tmp_path), "jsonl") as parts:
        parts.check(RUN)
        parts.write(record(0))
    (tmp_path / "_vidcomp.json").unlink()
    with pytest.raises(OutputError, match=r"_vidcomp\.json is missing"):
        Parts(str(tmp_path), "jsonl")


def test_names_that_are_no_text(tmp_path: Path, form: str) -> None:
    odd = ListedJob("/videos/\udcff.mp4", "\udcff.mp4", root="/videos")
    with Parts(str(tmp_path), form) as parts:
        parts.check(RUN)
        parts.claim(odd)
        parts.write({**record(0), "path": odd.name})
    with Parts(str(tmp_path), form) as parts:
        assert parts.claim(odd) is not None
    assert json.loads((tmp_path / "_vidcomp.json").read_text())["run"] == RUN


def test_parts_in_an_object_store(bucket: Bucket) -> None:
    with begun("s3://archive/labels", "parquet", rows=1) as parts:
        for number in range(2):
            parts.write(record(number))
    names = [name.rpartition("/")[2] for name in bucket.find("/archive/labels")]
    assert [name.rpartition("-")[2] for name in names] == ["_vidcomp.json", "00000.parquet", "00001.parquet"]
    with bucket.open("/archive/labels/" + names[1]) as file:
        assert list(pd.read_parquet(file)["label"]) == ["jump"]
    with begun("s3://archive/labels", "parquet") as parts:
        assert [parts.claim(job(number)) is None for number in range(3)] == [False, False, True]
    Parts("s3://archive/labels", "jsonl", resume=False)
    assert not bucket.find("/archive/labels")
