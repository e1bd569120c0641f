"""The table that a person reads: a label a row for one video, a video a row for many."""

from __future__ import annotations

from typing import TextIO

from rich.text import Text

from vidcomp.attention import summarise
from vidcomp.files import printable
from vidcomp.inference.prediction import Label, Prediction
from vidcomp.output.formats import Writer
from vidcomp.output.sparkline import attention_line
from vidcomp.output.tables import Cell, console_of, print_table

_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"
# Rows of a table for many videos that are gathered before their columns are laid out.
_ROWS_AT_ONCE = 200


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
        self.console.print(Text(_facts(prediction), style="dim"))
        rows = [
            (_named(label, prediction), f"{label.probability:6.1%}", self._bar(label))
            for label in prediction.labels[: self.top_k]
        ]
        print_table(self.console, ("", "", ""), rows, right=(1,), spare=(2,))
        if prediction.attention is not None:
            end_s = prediction.frames.end_s
            summary = summarise(prediction.attention, end_s)
            line = attention_line(summary, end_s, self.console.width, unicode=self._unicode)
            self.console.print(line)
        if prediction.windows:
            self._show_segments(prediction)

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
                rows.append((prediction.path, Text(prediction.error.kind, style="red"), "–", "–", "–", ""))
                continue
            label, probability, bar = self._best(prediction.top)
            name = _named(prediction.top, prediction) if prediction.top else label
            seconds = prediction.frames.duration_s
            length = "–" if seconds is None else f"{seconds:.1f}"
            rows.append((prediction.path, name, probability, str(prediction.frames.decoded), length, bar))
        headings = ("video", "label", "probability", "frames", "seconds", "")
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


def _facts(prediction: Prediction) -> str:
    frames = prediction.frames
    length = "" if frames.duration_s is None else f" · {frames.duration_s:.1f} s"
    seconds = prediction.timing.decode_s + prediction.timing.model_s
    return f"{frames.decoded} frames{length} · {frames.used} used · labelled in {seconds:.2f} s"
