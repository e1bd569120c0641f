"""What people read on a terminal: tables, a video's labels, and its attention in one line.

Tables are whole lines in a pipe, and on a terminal of any width nothing is cut and no word broken. Names come from
anywhere: nothing in a cell is taken for markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vidcomp.attention import (
    ABOUT_MEAN,
    ATTENDED,
    AttendedSegment,
    AttentionSummary,
    bar_heights,
    summarize,
    timeline,
)
from vidcomp.files import printable
from vidcomp.inference.prediction import Label, Moment, Prediction
from vidcomp.output.formats import Writer

Cell = str | Text
_GAP = "  "
# Words need so many columns to be wrapped in; with fewer, each row is a block of lines.
_LEAST_TEXT = 20
_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"
# Rows of a table for many videos that are gathered before their columns are laid out.
_ROWS_AT_ONCE = 200
_HEADING = "attention  "
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_CELLS_LEAST, _CELLS_MOST = 16, 60
_MOMENTS = 3


def console_of(stream: TextIO) -> Console:
    """A console that prints what it is given, whatever brackets and colons are in it, and leaves wrapping to us."""
    return Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Iterable[int] = (),
    spare: Iterable[int] = (),
    prose: bool = False,
) -> None:
    """Print rows under headings, none where all headings are empty.

    Where a terminal is too narrow, the columns numbered in ``spare`` are left out, the first one first, until the rest
    fits; if it never does, each row is printed as a block of lines. Columns in ``right`` are aligned to the right. The
    last one is ``prose`` if it may be wrapped.
    """
    shown = list(range(len(headings)))
    cells = [[_text(cell) for cell in row] for row in rows]
    left_out = iter(spare)
    while True:
        widths = [max([cell_len(headings[i]), *(row[i].cell_len for row in cells)]) for i in shown]
        room = console.width - sum(widths[:-1]) - len(_GAP) * (len(shown) - 1)
        if not console.is_terminal or widths[-1] <= room or (prose and room >= _LEAST_TEXT):
            break
        dropped = next(left_out, None)
        if dropped is None:
            _print_blocks(
                console, [headings[i] for i in shown], [[row[i] for i in shown] for row in cells], prose=prose
            )
            return
        shown.remove(dropped)
    if prose and console.is_terminal:
        widths[-1] = min(widths[-1], room)
    aligned = set(right)
    if any(headings):
        cells = [[Text(heading, style="bold") for heading in headings], *cells]
    for row in cells:
        last = row[shown[-1]]
        first, *more = wrapped(last.plain, widths[-1]) if prose and last.cell_len > widths[-1] else [last]
        line = Text()
        for i, width in zip(shown, widths, strict=True):
            cell = first if i == shown[-1] else row[i]
            filling = " " * (width - cell_len(str(cell)))
            line.append_text(Text.assemble(filling, cell) if i in aligned else Text.assemble(cell, filling))
            line.append(_GAP)
        line.rstrip()
        console.print(line)
        for rest in more:
            console.print(" " * (sum(widths[:-1]) + len(_GAP) * (len(shown) - 1)) + str(rest))


def print_text(console: Console, text: str, style: str = "") -> None:
    """Print a paragraph: wrapped between words on a terminal, one line elsewhere."""
    for line in wrapped(printable(text), console.width) if console.is_terminal else [printable(text)]:
        console.print(Text(line, style=style))


def print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, which are wrapped on a terminal; addresses stay whole."""
    facts = list(facts)
    width = max(len(name) for name, _ in facts) + len(_GAP)
    for name, value in facts:
        lines = [printable(value)]
        if console.is_terminal:
            lines = wrapped(lines[0], max(_LEAST_TEXT, console.width - width))
        for number, line in enumerate(lines):
            console.print(f"{'' if number else name:{width}}{line}".rstrip())


def _print_blocks(console: Console, headings: Sequence[str], rows: Iterable[Sequence[Text]], *, prose: bool) -> None:
    width = max((cell_len(heading) for heading in headings[1:]), default=0)
    for first, *rest in rows:
        console.print(first)
        for number, (heading, cell) in enumerate(zip(headings[1:], rest, strict=True)):
            if prose and number == len(rest) - 1:
                for line in wrapped(cell.plain, console.width - len(_GAP)):
                    console.print(_GAP + line)
            elif cell.plain.strip():
                console.print(Text.assemble(_GAP, f"{heading:<{width}}{_GAP}" if heading else "", cell))


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A line in lines of at most ``width`` columns, broken between words; all but the first begin with ``indent``."""
    lines = textwrap.wrap(text, max(1, width), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines or [""]


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


class TableWriter(Writer):
    """Tables on a terminal. One video is shown with its ``top_k`` labels, several with their best."""

    def __init__(self, stream: TextIO, top_k: int, *, single: bool) -> None:
        super().__init__(stream, top_k)
        self.console = console_of(stream)
        self.single = single
        self._rows: list[Prediction] = []

    def write(self, prediction: Prediction) -> None:
        """Show a single video at once; gather rows for many."""
        if self.single:
            self._show_one(prediction)
            return
        self._rows.append(prediction)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._show_rows()

    def close(self) -> None:
        """Show the rows that are left."""
        if self._rows:
            self._show_rows()
        super().close()

    def _show_one(self, prediction: Prediction) -> None:
        if prediction.error is not None:
            return
        self.console.print(Text(printable(prediction.path), style="bold"))
        print_text(self.console, _facts(prediction), "dim")
        rows = [
            (_named(label, prediction), f"{label.probability:6.1%}", self._bar(label))
            for label in prediction.labels[: self.top_k]
        ]
        if rows:
            print_table(self.console, ("", "", ""), rows, right=(1,), spare=(2,))
        else:
            self.console.print("no label is probable enough", style="dim")
        if prediction.attention is not None:
            end_s = prediction.frames.end_s
            summary = summarize(prediction.attention, end_s)
            line = attention_line(summary, end_s, self.console.width, unicode=self._unicode)
            self.console.print(line)
        if prediction.moments is not None:
            self._show_moments(prediction.moments, prediction.frames.end_s or 0.0)
        if prediction.windows and prediction.moments is None:
            self._show_segments(prediction)

    def _show_moments(self, found: Sequence[Moment], length_s: float) -> None:
        if not found:
            self.console.print("no moment found: nothing is certain for long enough", style="dim")
            return
        tenths = is_short(length_s)
        rows = [
            (clock(part.start_s, tenths=tenths), clock(part.end_s, tenths=tenths), *self._best(part.label))
            for part in found
        ]
        print_table(self.console, ("from", "to", "moment", "probability", ""), rows, right=(0, 1, 3), spare=(4,))

    def _show_segments(self, prediction: Prediction) -> None:
        rows = [
            (f"{part.start_s:.1f}–{part.end_s:.1f}", *self._best(part.labels[0] if part.labels else None))
            for part in prediction.windows
        ]
        print_table(self.console, ("seconds", "label", "probability", ""), rows, right=(0, 2), spare=(3,))

    def _show_rows(self) -> None:
        rows: list[tuple[Cell, ...]] = []
        for prediction in self._rows:
            if prediction.error is not None:
                rows.append((prediction.path, Text(prediction.error.kind, style="red"), "–", "–", "–", "", ""))
                continue
            label, probability, bar = self._best(prediction.top)
            name = _named(prediction.top, prediction) if prediction.top else label
            seconds = prediction.frames.duration_s
            length = "–" if seconds is None else f"{seconds:.1f}"
            found = _times(prediction)
            rows.append((prediction.path, name, probability, str(prediction.frames.decoded), length, bar, found))
        asked = any(prediction.moments is not None for prediction in self._rows)
        headings = ("video", "label", "probability", "frames", "seconds", "", "moments" if asked else "")
        print_table(self.console, headings, rows, right=(2, 3, 4), spare=(5, 4, 3))
        self._rows.clear()

    def _best(self, label: Label | None) -> tuple[str, str, Text]:
        """What a row says of its best label."""
        return ("–", "–", Text()) if label is None else (label.label, f"{label.probability:.1%}", self._bar(label))

    @property
    def _unicode(self) -> bool:
        return self.console.encoding.lower().replace("-", "").startswith("utf")

    def _bar(self, label: Label) -> Text:
        if not self._unicode:
            return Text("#" * round(label.probability * _BAR_CELLS))
        eighths = round(label.probability * _BAR_CELLS * 8)
        rest = _EIGHTHS[eighths % 8] if eighths % 8 else ""
        return Text("█" * (eighths // 8) + rest, style="green")


def _named(label: Label, prediction: Prediction) -> Text:
    """A label, and that it is uncertain where that is the best one's case."""
    name = Text(printable(label.label))
    return name.append(" (uncertain)", "yellow") if prediction.uncertain and label is prediction.top else name


def _times(prediction: Prediction) -> str:
    """When the moments of a video are, for a row of a table."""
    if prediction.moments is None:
        return ""
    tenths = is_short(prediction.frames.end_s or 0.0)
    times = [(clock(part.start_s, tenths=tenths), clock(part.end_s, tenths=tenths)) for part in prediction.moments]
    more = f", {len(times) - _MOMENTS} more" if len(times) > _MOMENTS else ""
    return (", ".join(f"{start}–{end}" for start, end in times[:_MOMENTS]) or "none") + more


def _facts(prediction: Prediction) -> str:
    frames = prediction.frames
    length = "" if frames.duration_s is None else f" · {frames.duration_s:.1f} s"
    seconds = prediction.timing.decode_s + prediction.timing.model_s
    return f"{frames.decoded} frames{length} · {frames.used} used · labeled in {seconds:.2f} s"


def attention_line(summary: AttentionSummary, end_s: float | None, width: int, *, unicode: bool) -> Text:
    """The line for a terminal of ``width`` columns; in ASCII without ``unicode``.

    Height and color are importance: gray for little, cyan about the mean, yellow for attended. After the timeline come
    the moments with the greatest mass, in order of time: as many as fit, three at most, or one on a line of its own.
    """
    length = end_s if end_s is not None else summary.seconds[-1]
    dash = "–" if unicode else "-"
    texts = [moments(summary.attended, length, count, dash=dash) for count in range(_MOMENTS, 0, -1)]
    room = width - len(_HEADING) - 2
    text = next((text for text in texts if room - len(text) >= _CELLS_LEAST), None)
    free, gap = (room - len(text), "  ") if text is not None else (width - len(_HEADING), "\n" + " " * len(_HEADING))
    cells = max(_CELLS_LEAST, min(_CELLS_MOST, free))
    line = Text().append(_HEADING, style="dim")
    values = timeline(summary.seconds, summary.importance, cells, end_s)
    glyphs = _BLOCKS if unicode else _ASCII
    for value, height in zip(values.tolist(), bar_heights(values).tolist(), strict=True):
        line.append(glyphs[min(len(glyphs) - 1, int(height * len(glyphs)))], style=_color(value))
    return line.append(gap + (text or texts[-1]))


def moment_text(start_s: float | None, end_s: float | None) -> str:
    """A window of a video; empty where it is the whole."""
    if start_s is None or end_s is None:
        return ""
    tenths = is_short(end_s)
    return f"{clock(start_s, tenths=tenths)}–{clock(end_s, tenths=tenths)}"


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time as m:ss, h:mm:ss from an hour on, or with tenths of a second."""
    count = round(seconds * 10) if tenths else round(seconds) * 10
    whole, tenth = divmod(count, 10)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenth}" if tenths else text


def share(value: float) -> str:
    """A share of 1 in percent, "100%" only where it is all."""
    return ">99%" if 0.995 <= value < 0.9995 else f"{value:.0%}"


def is_short(length_s: float) -> bool:
    """Whether a video is so short that its times are told to a tenth of a second."""
    return length_s < 60


def moments(attended: Sequence[AttendedSegment], length_s: float, most: int = _MOMENTS, *, dash: str = "–") -> str:
    """The moments of a video of ``length_s`` seconds with the greatest mass, in order of time: "0:03–0:05 41%"."""
    if not attended:
        return "no moment stands out"
    tenths, texts = is_short(length_s), []
    largest = sorted(attended, key=lambda part: -part.mass)[:most]
    for part in sorted(largest, key=lambda part: part.start_s):
        start, end = clock(part.start_s, tenths=tenths), clock(part.end_s, tenths=tenths)
        texts.append(f"{start if start == end else start + dash + end} {share(part.mass)}")
    more = len(attended) - len(largest)
    return ", ".join(texts) + (f", {more} more" if more else "")


def _color(importance: float) -> str:
    if importance >= ATTENDED:
        return "bold yellow"
    return "cyan" if importance >= ABOUT_MEAN else "bright_black"
