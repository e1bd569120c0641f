"""The formats that scripts read: their keys and shapes are a contract."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from vidcomp.attention import AttentionMap
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Prediction, Timing
from vidcomp.output.formats import RecordWriter
from vidcomp.output.terminal import TableWriter

GOOD = Prediction(
    path="a/x.mp4",
    model="m",
    strategy="whole",
    labels=(Label("jump", 3, 0.75), Label("run", 1, 0.25)),
    frames=FrameCounts(100, 25, 2, 4.0),
    timing=Timing(0.5, 1.5, 1.25),
    attention=AttentionMap("sfc", np.eye(2, dtype=np.float32), np.array([0.0, 1.0])),
    notes=("2 frames were concealed",),
)
BAD = Prediction(
    path="bad\udcff.mp4",
    model="m",
    strategy="whole",
    labels=(),
    frames=FrameCounts(0, 0, 0, None),
    timing=Timing(0.1, 0.0),
    error=Failure("empty", "bad.mp4: the file is empty"),
)


def written(name: str, *predictions: Prediction, top_k: int = 5) -> str:
    stream = io.StringIO()
    writer = RecordWriter(name, stream, top_k)
    for prediction in predictions:
        writer.write(prediction)
    writer.close()
    return stream.getvalue()


def test_json_holds_the_contract() -> None:
    good, bad = json.loads(written("json", GOOD, BAD))
    assert good == {
        "path": "a/x.mp4",
        "status": "ok",
        "error": None,
        "labels": [
            {"label": "jump", "index": 3, "probability": 0.75},
            {"label": "run", "index": 1, "probability": 0.25},
        ],
        "model": "m",
        "strategy": "whole",
        "frames": {"decoded": 100, "used": 25, "repaired": 2, "duration_s": 4.0, "start_s": 0.0},
        "timing": {"decode_s": 0.5, "model_s": 1.5, "decoder_s": 1.25, "bottleneck": "model"},
        "attention": {
            "compressor": "sfc",
            "times_s": [0.0, 1.0],
            "importance": [1.0, 1.0],
            "attended": [],
            "effective_frames": pytest.approx(2.0),
            "concentration": pytest.approx(0.0),
            "negligible_frames": 0,
            "active_bins": None,
            "bins": None,
        },
        "uncertain": False,
        "notes": ["2 frames were concealed"],
        "label": "jump",
        "probability": 0.75,
    }
    assert bad["status"] == "error"
    assert bad["error"] == {"kind": "empty", "message": "bad.mp4: the file is empty"}
    assert bad["labels"] == []
    assert bad["attention"] is None
    assert bad["path"] == "bad\udcff.mp4"


def test_json_of_nothing_is_an_empty_array() -> None:
    assert json.loads(written("json")) == []


def test_jsonl_is_one_line_a_video() -> None:
    lines = written("jsonl", GOOD, BAD).splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok", "error"]


def test_top_k_cuts_the_labels() -> None:
    assert len(json.loads(written("json", GOOD, top_k=1))[0]["labels"]) == 1


def test_csv_is_a_header_and_a_row_a_video() -> None:
    good, bad = csv.DictReader(io.StringIO(written("csv", GOOD, BAD)))
    assert (good["path"], good["label"], good["probability"]) == ("a/x.mp4", "jump", "0.750000")
    assert good["top_k"] == "jump=0.7500; run=0.2500"
    assert (bad["status"], bad["error_kind"], bad["label"]) == ("error", "empty", "")
    assert bad["path"] == "bad\\udcff.mp4"


def test_the_table_of_one_video_has_a_row_a_label_and_a_bar() -> None:
    stream = io.StringIO()
    writer = TableWriter(stream, 5, single=True)
    writer.write(GOOD)
    writer.close()
    text = stream.getvalue()
    assert "100 frames · 4.0 s · 25 used" in text
    assert "75.0%" in text
    assert "█" * 15 in text


def test_the_table_of_one_video_says_that_no_label_is_probable_enough() -> None:
    stream = io.StringIO()
    TableWriter(stream, 5, single=True).write(GOOD.at_least(0.9))
    assert stream.getvalue().splitlines()[2] == "no label is probable enough"


def test_the_table_of_many_has_a_row_a_video() -> None:
    stream = io.StringIO()
    writer = TableWriter(stream, 5, single=False)
    for prediction in (GOOD, BAD):
        writer.write(prediction)
    writer.close()
    heading, good, bad = stream.getvalue().splitlines()
    assert heading.split() == ["video", "label", "probability", "frames", "seconds"]
    assert good.split()[:5] == ["a/x.mp4", "jump", "75.0%", "100", "4.0"]
    assert "empty" in bad


def test_names_with_line_ends_of_any_kind_come_back_from_csv() -> None:
    for name in ("a\rb,c.mp4", 'q"\r.mp4', "a\nb.mp4", "a\r\nb.mp4"):
        (row,) = csv.DictReader(io.StringIO(written("csv", replace(GOOD, path=name)), newline=""))
        assert (row["path"], row["label"]) == (name, "jump")


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "exact"), [(Terminal(), False), (io.StringIO(), True)])
def test_csv_escapes_names_on_a_terminal_and_nowhere_else(stream: io.StringIO, exact: bool) -> None:
    name = "a\x1b[2J\u202e\n.mp4"
    RecordWriter("csv", stream, 5).write(replace(GOOD, path=name))
    (row,) = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert row["path"] == (name if exact else "a\\x1b[2J\\u202e\\n.mp4")
