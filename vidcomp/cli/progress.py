"""Progress on a terminal; in a pipe nothing, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidcomp.inference.batch import RunStats

_LINE_EVERY_S = 30.0


@contextmanager
def download_progress(*, quiet: bool = False) -> Iterator[Callable[[int, int | None], None] | None]:
    """Give a callback for downloads that draws a bar on stderr if that is a terminal, else ``None``."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("downloading weights"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("download", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def video_progress(total: int, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Give a callback, called with each finished video's path, that moves a bar on stderr if that is a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda path: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("classifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("videos", total=total)
        yield lambda path: bar.advance(task)


@contextmanager
def batch_progress(tally: RunStats, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Give a callback for each finished video: a live display on a terminal, elsewhere a line every half minute."""
    if quiet or tally.total < 2:
        yield lambda: None
    elif sys.stderr.isatty():
        yield from _live(tally)
    else:
        yield _Lines(tally).advance


def _live(tally: RunStats) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    from vidcomp.output.summary import progress_line

    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(progress_line(tally), total=tally.total)
        yield lambda: bar.update(task, completed=tally.done + tally.passed_over, description=progress_line(tally))


class _Lines:
    def __init__(self, tally: RunStats) -> None:
        self._tally = tally
        self._shown = time.monotonic()

    def advance(self) -> None:
        from vidcomp.output.summary import progress_line

        if time.monotonic() - self._shown >= _LINE_EVERY_S:
            self._shown = time.monotonic()
            print(f"vidcomp: {progress_line(self._tally)}", file=sys.stderr, flush=True)
