"""A comparison as text: terminal table, Markdown, CSV, JSON. The columns and their wording are the same in all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidcomp.evaluation.comparison import RATIO_COLUMNS, Comparison, Row
from vidcomp.files import counted, printable
from vidcomp.output.terminal import console_of, print_text

ABSENT = "–"
# Stands behind a ratio that the measurements cannot tell from 1.
NOISY = "≈"
_WIDEST = 1000
# Below this, two strategies' accuracies hardly ever differ surely.
_FEW = 100


@dataclass(frozen=True)
class Column:
    """A heading, how a row's cell is written, the ratio shown with it, and what it means."""

    heading: str
    cell: Callable[[Row], str]
    ratio: str | None
    meaning: str


def _number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that count, never in powers of ten."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    decimals = max(0, digits - len(str(int(abs(value)))) if abs(value) >= 1 else digits)
    return f"{value:,.{decimals}f}"


def _frames(row: Row) -> str:
    if row.views is None or row.frames_range is None:
        return ABSENT
    least, most = row.frames_range
    return f"{row.views} × {least}" if least == most else f"{row.views} × {least}–{most}"


def _milliseconds(row: Row) -> str:
    if row.model_ms is None:
        return ABSENT
    if row.model_ms.samples == 1:
        return _number(row.model_ms.median)
    return f"{_number(row.model_ms.median)} ({_number(row.model_ms.least)}–{_number(row.model_ms.greatest)})"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1%}"


COLUMNS = (
    Column("strategy", lambda row: row.strategy, None, "how a video is passed through the network"),
    Column("views × frames", _frames, None, "forward passes of a video × frames that enter the network in each"),
    Column("GMACs", lambda row: _number(row.gmacs, 4), "gmacs", "multiply-accumulates of a video, in 10⁹"),
    Column(
        "M accum.",
        lambda row: _number(None if row.accumulates is None else row.accumulates / 1e6),
        None,
        "accumulates of a video's spikes, in 10⁶, on hardware that adds on a spike",
    ),
    Column("params M", lambda row: _number(row.params / 1e6, 4), "params", "all parameters, in millions"),
    Column(
        "model ms/video",
        _milliseconds,
        "model_ms",
        "the model alone on decoded frames: median of the rounds (least–greatest)",
    ),
    Column("videos/s", lambda row: _number(row.videos_per_s), "videos_per_s", "1000 / model ms"),
    Column(
        "end to end/s",
        lambda row: _number(row.end_to_end_videos_per_s),
        "end_to_end_videos_per_s",
        "videos per second from the file to the labels, decoding included",
    ),
    Column(
        "peak MB",
        lambda row: _number(row.peak_memory_mb),
        "peak_memory_mb",
        "peak memory above the loaded model while a video is classified (CUDA's allocator, or this process)",
    ),
    Column(
        "fit at once",
        lambda row: _number(row.fits_at_once),
        "fits_at_once",
        "videos in flight that memory holds (CUDA: searched; CPU: memory over the peak)",
    ),
    Column(
        "J/video",
        lambda row: _number(None if row.energy_j is None else row.energy_j.median),
        "energy_j",
        "energy of the model alone (NVML or RAPL), where this machine tells it",
    ),
    Column("top-1", lambda row: _share(row.top1), "top1", "share of videos whose best label is right"),
    Column("top-5", lambda row: _share(row.top5), "top5", "share of videos with the right label among the best five"),
    Column(
        "agrees",
        lambda row: _share(row.agreement),
        "agreement",
        "share of videos whose best label is the dense row's",
    ),
)


def shown_columns(comparison: Comparison) -> list[Column]:
    """The columns in which some row has something to say."""
    return [column for column in COLUMNS if any(column.cell(row) != ABSENT for row in comparison.rows)]


def ratio_text(comparison: Comparison, row: Row, column: Column) -> str:
    """A column's ratio as 6.7×, marked where it cannot be told from 1; empty for the reference or if there is none."""
    ratio = row.ratios.get(column.ratio or "")
    if ratio is None or row.strategy == comparison.reference:
        return ""
    mark = f" {NOISY}" if column.ratio in row.noisy else ""
    return f"{ratio.value:.2f}×{mark}"


def interval_text(row: Row, column: Column) -> str:
    """Between what the ratio lies, as (6.1–6.9); empty where it is counted or was measured once."""
    ratio = row.ratios.get(column.ratio or "")
    if ratio is None or ratio.low is None or ratio.high is None or ratio.low == ratio.high:
        return ""
    return f"({ratio.low:.2f}–{ratio.high:.2f})"


def machine_line(comparison: Comparison) -> str:
    """The machine and the software in one line."""
    machine = comparison.machine
    where = machine["gpu"] or f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"
    packages = ", ".join(
        f"{name} {machine[name]}" for name in ("vidcomp", "python", "torch", "cuda", "av", "decord") if machine[name]
    )
    return f"{where}, {machine['memory_gib']} GiB; {machine['os']}; {packages}; {machine['date']}"


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know beside the table."""
    lines = list(comparison.notes)
    if comparison.reference is not None:
        lines.append(f"ratios: how many times better than {comparison.reference}; above 1 is better")
    labeled = sum(video.label is not None for video in comparison.videos)
    if 0 < labeled < _FEW:
        lines.append(f"{labeled} labeled videos are few: one of them weighs {1 / labeled:.1%} of the accuracy")
    if any(row.noisy for row in comparison.rows) and comparison.rounds == 1:
        lines.append(f"{NOISY} one round cannot say how much times vary: give --rounds 5, or more --seconds")
    elif any(row.noisy for row in comparison.rows):
        lines.append(f"{NOISY} the measurements cannot tell this row from {comparison.reference}")
    return lines


def size_line(comparison: Comparison) -> str:
    """Of how many videos it is, and rounds."""
    return f"{counted(len(comparison.videos), 'video')}, {counted(comparison.rounds, 'round')}"


def write_table(comparison: Comparison, stream: TextIO) -> None:
    """A table for a terminal: every row, and beneath it its ratios; turned on its side where it would not fit.

    In a pipe it is as wide as it needs to be. Where not even two rows fit side by side, each has a table of its own.
    """
    console = console_of(stream)
    title = f"{comparison.model}: {size_line(comparison)}"
    console.print(Text(title, style="bold"))
    wide = Console(file=stream, markup=False, emoji=False, highlight=False, width=_WIDEST)

    def fits(table: Table) -> bool:
        return not console.is_terminal or wide.measure(table).maximum <= console.width

    tables = [_rows_down(comparison)]
    if not fits(tables[0]):
        tables = [_rows_across(comparison, comparison.rows)]
    if not fits(tables[0]):
        tables = [_rows_across(comparison, [row]) for row in comparison.rows]
    for table in tables:
        wide.print(table)
    explained = ["vidcomp compare --help explains the columns"] if console.is_terminal else []
    for line in (*remarks(comparison), *explained, machine_line(comparison)):
        print_text(console, line, "dim")


def _rows_down(comparison: Comparison) -> Table:
    columns = shown_columns(comparison)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.heading, justify="left" if column.ratio is None else "right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*(column.cell(row) for column in columns))
        if any(ratios := [ratio_text(comparison, row, column) for column in columns]):
            table.add_row(*ratios, style="dim")
    return table


def _rows_across(comparison: Comparison, rows: Sequence[Row]) -> Table:
    first, *columns = shown_columns(comparison)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for row in rows:
        table.add_column(first.cell(row), justify="right", no_wrap=True)
    for column in columns:
        table.add_row(Text(column.heading, style="bold"), *(column.cell(row) for row in rows))
        if any(ratios := [ratio_text(comparison, row, column) for row in rows]):
            table.add_row("", *ratios, style="dim")
    return table


def write_markdown(comparison: Comparison, stream: TextIO) -> None:
    """A table for a README or an issue, ratios in brackets."""
    columns = shown_columns(comparison)
    lines = [f"**{comparison.model}**, {size_line(comparison)}", ""]
    lines.append("| " + " | ".join(column.heading for column in columns) + " |")
    lines.append("|" + "|".join("---" if column.heading == "strategy" else "---:" for column in columns) + "|")
    for row in comparison.rows:
        ratios = [ratio_text(comparison, row, column) for column in columns]
        cells = [
            column.cell(row) + (f" [{ratio}]" if ratio else "") for column, ratio in zip(columns, ratios, strict=True)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"- {line}" for line in (*remarks(comparison), machine_line(comparison))]
    stream.write("\n".join(lines) + "\n")


def write_latex(comparison: Comparison, stream: TextIO) -> None:
    r"""A table for a paper (needs ``\usepackage{booktabs}``), ratios in brackets; what must be known is in comments."""
    columns = shown_columns(comparison)
    alignment = "".join("l" if column.heading == "strategy" else "r" for column in columns)
    lines = [f"% {printable(line)}" for line in (comparison.model, *remarks(comparison), machine_line(comparison))]
    lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [" & ".join(_latex(column.heading) for column in columns) + r" \\", r"\midrule"]
    for row in comparison.rows:
        ratios = [ratio_text(comparison, row, column) for column in columns]
        cells = [
            _latex(column.cell(row) + (f" [{ratio}]" if ratio else ""))
            for column, ratio in zip(columns, ratios, strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    stream.write("\n".join(lines) + "\n")


def _latex(text: str) -> str:
    text = printable(text).replace("\\", r"\textbackslash ")
    for character in "&%$#_{}":
        text = text.replace(character, rf"\{character}")
    for character, command in {"×": r"$\times$", NOISY: r"$\approx$", "–": "--", "~": r"\textasciitilde "}.items():
        text = text.replace(character, command)
    return text


def write_csv(comparison: Comparison, stream: TextIO) -> None:
    """A line a row under the JSON's keys, ratios as ``ratio_…``; absent numbers are empty."""
    records = [row.as_dict() for row in comparison.rows]
    plain = [key for key in (records[0] if records else {}) if not key.startswith(("ratio", "too_noisy"))]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", *plain, *(f"ratio_{name}" for name in RATIO_COLUMNS), "too_noisy"])
    for record in records:
        values = [_flat(record[key]) for key in plain]
        ratios = [record["ratio"][name] for name in RATIO_COLUMNS]
        writer.writerow([comparison.model, *values, *ratios, " ".join(record["too_noisy"])])


def write_json(comparison: Comparison, stream: TextIO) -> None:
    """Everything, under keys that stay as they are; what is absent is null."""
    stream.write(json.dumps(comparison.as_dict(), indent=2, allow_nan=False) + "\n")


def _flat(value: object) -> object:
    return "–".join(map(str, value)) if isinstance(value, list) else value


WRITERS: dict[str, Callable[[Comparison, TextIO], None]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
    "markdown": write_markdown,
    "latex": write_latex,
}
