"""The table that a person reads: a label a row for one video, a video a row for many."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vidcomp.attention.summary import summarise
from vidcomp.inference.prediction import Label, Prediction
from vidcomp.output.sparkline import attention_line
from vidcomp.output.writers import Writer

_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"
# Rows of a table for many videos that are gathered before their columns are laid out.
_ROWS_AT_ONCE = 200


class TableWriter(Writer):
    """Tables on a terminal. One video is shown with its ``top_k`` labels, several with their best."""

    def __init__(self, stream: TextIO, top_k: int, *, single: bool) -> None:
        super().__init__(stream, top_k)
        self.console = Console(file=stream, highlight=False, soft_wrap=False)
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
        self.console.print(f"[bold]{escape(prediction.path)}[/bold]", soft_wrap=True)
        self.console.print(f"[dim]{_facts(prediction)}[/dim]", soft_wrap=True)
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for label in prediction.labels[: self.top_k]:
            table.add_row(escape(label.label), f"{label.probability:6.1%}", self._bar(label))
        self.console.print(table)
        if prediction.attention is not None:
            end_s = prediction.frames.end_s
            summary = summarise(prediction.attention, end_s)
            line = attention_line(summary, end_s, self.console.width, unicode=self._unicode)
            self.console.print(line, soft_wrap=True)
        if prediction.segments:
            self._show_segments(prediction)

    def _show_segments(self, prediction: Prediction) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("seconds", "label", "probability", ""):
            table.add_column(heading, justify="left" if heading in ("label", "") else "right")
        for part in prediction.segments:
            best = part.labels[0] if part.labels else None
            table.add_row(
                f"{part.start_s:.1f}–{part.end_s:.1f}",
                escape(best.label) if best else "–",
                f"{best.probability:.1%}" if best else "–",
                self._bar(best) if best else "",
            )
        self.console.print(table)

    def _show_rows(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("video", "label"):
            table.add_column(heading, overflow="fold")
        for heading in ("probability", "frames", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("")
        for prediction in self._rows:
            if prediction.error is not None:
                table.add_row(escape(prediction.path), Text(prediction.error.kind, style="red"), "–", "–", "–", "")
                continue
            best, frames = prediction.labels[0] if prediction.labels else None, prediction.frames
            table.add_row(
                escape(prediction.path),
                escape(best.label) if best else "–",
                f"{best.probability:.1%}" if best else "–",
                str(frames.decoded),
                "–" if frames.duration_s is None else f"{frames.duration_s:.1f}",
                self._bar(best) if best else "",
            )
        self.console.print(table)
        self._rows.clear()

    @property
    def _unicode(self) -> bool:
        return self.console.encoding.lower().replace("-", "").startswith("utf")

    def _bar(self, label: Label) -> Text:
        if not self._unicode:
            return Text("#" * round(label.probability * _BAR_CELLS))
        eighths = round(label.probability * _BAR_CELLS * 8)
        rest = _EIGHTHS[eighths % 8] if eighths % 8 else ""
        return Text("█" * (eighths // 8) + rest, style="green")


def _facts(prediction: Prediction) -> str:
    frames = prediction.frames
    length = "" if frames.duration_s is None else f" · {frames.duration_s:.1f} s"
    seconds = prediction.timing.decode_s + prediction.timing.model_s
    return f"{frames.decoded} frames{length} · {frames.used} used · labelled in {seconds:.2f} s"
