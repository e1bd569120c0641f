"""A comparison in each of its formats, from numbers given by hand."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests import clips
from vidcomp.cli.compare import ComparisonFormat, _render
from vidcomp.evaluation.comparison import Answer, Comparison, Row, VideoResult
from vidcomp.evaluation.statistics import Ratio, Spread
from vidcomp.output import plots
from vidcomp.output.comparison import ABSENT, NOISY, WRITERS
from vidcomp.output.html import comparison_page

MACHINE = {
    "processor": "A <fast> CPU",
    "cores": 4,
    "threads": 2,
    "memory_gib": 16.0,
    "gpu": None,
    "os": "Linux",
    "vidcomp": "0.1.0",
    "python": "3.11",
    "torch": "2.9",
    "cuda": None,
    "av": "15",
    "decord": None,
    "date": "2026-01-01T00:00:00+00:00",
}


def comparison(video: str = "nowhere.mp4") -> Comparison:
    dense = Row(
        "dense30",
        "none",
        None,
        True,
        32_450_000,
        30,
        8,
        (8, 8),
        (256, 256),
        1636.2,
        model_ms=Spread(51_234.5, 50_000, 53_000, 3),
        end_to_end_ms=Spread(52_000, 51_000, 54_000, 3),
        peak_memory_mb=480.0,
        fits_at_once=40,
        top1=0.75,
        top5=1.0,
        agreement=1.0,
    )
    sfc = replace(
        dense,
        strategy="sfc",
        compressor="sfc",
        tau=2.0,
        views=1,
        frames_per_view=36,
        frames_range=(30, 40),
        gmacs=244.9,
        model_ms=Spread(8_000, 7_900, 8_200, 3),
        top1=0.5,
        agreement=0.5,
        ratios={
            "gmacs": Ratio(6.681, 6.681, 6.681),
            "model_ms": Ratio(6.404, 6.1, 6.7),
            "top1": Ratio(2 / 3, 2 / 3, 2 / 3),
        },
        noisy=("top1",),
    )
    answers = {"dense30": Answer("<Dancing>", 0.9), "sfc": Answer("Surfing", 0.4)}
    videos = (
        VideoResult(video, "<Dancing>", answers, True),
        VideoResult("same.mp4", None, dict.fromkeys(answers, Answer("Surfing", 0.5)), False),
        VideoResult("broken.mp4", None, dict.fromkeys(answers, Answer(None, None, "broken.mp4: empty")), False),
    )
    notes = ("a <note>",)
    return Comparison("a-model", MACHINE, (dense, sfc), videos, "dense30", 3, False, False, False, notes)


def written(name: str) -> str:
    stream = io.StringIO()
    WRITERS[name](comparison(), stream)
    return stream.getvalue()


def test_the_table_has_ratios_beneath_and_no_column_of_absent_numbers() -> None:
    lines = written("table").splitlines()
    heading, dense, sfc, ratios = lines[1:5]
    assert "J/video" not in heading
    assert dense.split()[:5] == ["dense30", "30", "×", "8", "1,636"]
    assert "51,234 (50,000–53,000)" in dense
    assert "1 × 30–40" in sfc
    assert ratios.split() == ["6.68×", "6.40×", "0.67×", NOISY]
    assert len({line.index("top-1") + 5 for line in [heading]}) == 1
    assert any(line.startswith(NOISY) for line in lines)
    assert any("A <fast> CPU, 2 of 4 cores" in line for line in lines)


def test_on_a_narrow_terminal_the_table_lies_on_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written("table")).splitlines()
    assert lines[1].split() == ["dense30", "sfc"]
    assert ["GMACs", "1,636", "244.9"] in [line.split() for line in lines]
    assert all(len(line.rstrip()) <= 80 for line in lines[: lines.index(next(s for s in lines if "a <note>" in s))])


def test_on_a_very_narrow_terminal_each_row_has_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", written("table")).splitlines()]
    assert [line for line in lines if line in (["dense30"], ["sfc"])] == [["dense30"], ["sfc"]]
    assert [line for line in lines if line[:1] == ["GMACs"]] == [["GMACs", "1,636"], ["GMACs", "244.9"]]


@pytest.mark.parametrize(("told", "times"), [(True, 0), (False, 1)])
def test_a_note_stands_on_a_terminal_once(monkeypatch: pytest.MonkeyPatch, told: bool, times: int) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    noted = replace(comparison(), notes=("it was late",))
    _render(noted, ComparisonFormat.TABLE, save=None, plot=None, told=told)
    assert stream.getvalue().count("it was late") == times
    assert "vidcomp compare --help explains the columns" in stream.getvalue()


def test_markdown_is_a_table_of_equal_rows() -> None:
    lines = [line for line in written("markdown").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "244.9 [6.68×]" in lines[3]


def test_absent_numbers_are_null_in_json_and_empty_in_csv() -> None:
    found = json.loads(written("json"))
    assert found["rows"][0]["energy_j"] is None
    assert found["rows"][1]["ratio"]["energy_j"] is None
    assert found["rows"][1]["ratio"]["gmacs"] == 6.681
    assert found["rows"][1]["ratio_interval"] == {"model_ms": [6.1, 6.7]}
    assert found["rows"][1]["too_noisy"] == ["top1"]
    assert found["videos"][0]["answers"]["sfc"] == {"label": "Surfing", "probability": 0.4, "error": None}
    rows = list(csv.DictReader(io.StringIO(written("csv"))))
    assert rows[1]["energy_j"] == ""
    assert rows[1]["ratio_gmacs"] == "6.681"
    assert ABSENT not in rows[1].values()


def test_the_report_stands_alone_and_shows_disagreements(tmp_path: Path) -> None:
    video = clips.make_clip(tmp_path / "a & b.mp4", 12)
    html = comparison_page(comparison(str(video)))
    for word in ('name="viewport"', "@media print", "dense30", "6.40×", "a &lt;note&gt;", "What the columns mean"):
        assert word in html
    assert "Disagreements: 1 of 3 videos" in html
    assert "a &amp; b.mp4" in html
    assert "&lt;Dancing&gt;" in html
    assert "<Dancing>" not in html
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    assert [base64.b64decode(picture)[:2] for picture in pictures] == [b"\xff\xd8"]


def test_the_report_does_without_matplotlib_and_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    html = comparison_page(comparison())
    assert "No picture: pictures need matplotlib: pip install &#39;vidcomp[plots]&#39;." in html
    assert "(no picture)" in html


def test_the_picture_is_a_png_or_says_why_not() -> None:
    unscored = replace(comparison(), rows=tuple(replace(row, top1=None, agreement=None) for row in comparison().rows))
    if not plots.available():
        with pytest.raises(plots.PictureError, match=r"vidcomp\[plots\]"):
            plots.comparison_picture(comparison())
        pytest.skip("matplotlib is not here (extra [plots])")
    assert plots.comparison_picture(comparison())[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in plots.comparison_picture(comparison(), "svg")
    with pytest.raises(plots.PictureError, match="name videos"):
        plots.comparison_picture(unscored)


def test_latex_is_a_table_whose_cells_are_escaped(tmp_path: Path) -> None:
    stream = io.StringIO()
    WRITERS["latex"](comparison(str(tmp_path / "a_b.mp4")), stream)
    text = stream.getvalue()
    head, body = text.split("\\midrule")
    assert "\\begin{tabular}{lr" in head
    columns = head.splitlines()[-1].count("&")
    rows = [line for line in body.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 2
    assert all(row.count(" & ") == columns for row in rows)
    assert "75.0\\%" in rows[0]
    assert "$\\times$" in rows[1]
    assert "few: one of them weighs" in head
