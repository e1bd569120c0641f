"""How a training goes, on standard error: a bar on a terminal, elsewhere a line per epoch and one now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from vidcomp.cli.errors import SOME_FAILED, Stopped, UsageError, fail, stop_requests
from vidcomp.cli.terminal import download_progress, in_options, roomy, warn
from vidcomp.files import printable
from vidcomp.training import Interrupted, RequestError, TrainingError
from vidcomp.training.callbacks import Callbacks, StepState

if TYPE_CHECKING:
    from rich.progress import TaskID

    from vidcomp.transfer import Progress as DownloadProgress

_LINE_EVERY_S = 30.0


@contextmanager
def told(
    unit: str, go_on: str, *, quiet: bool, debug: bool
) -> Iterator[tuple[DownloadProgress | None, TrainingProgress]]:
    """What shows how downloads and a training go; a training that does not succeed ends the command by one line.

    An interrupt stops it after the ``unit`` at work; the line then says how to ``go_on``.

    Raises:
        UsageError: it cannot be done as asked.
    """
    with stop_requests(f"\nvidcomp: stopping after this {unit}; once more stops at once\n".encode()) as stop:
        try:
            with (
                download_progress(quiet=quiet) as progress,
                TrainingProgress(lambda: stop.number is not None, quiet=quiet) as reporter,
            ):
                yield progress, reporter
        except Interrupted as stopped:
            fail(f"{stopped}; {go_on}", Stopped(stop.number).exit_code if stop.number is not None else SOME_FAILED)
        except Stopped as stopped:
            fail(f"stopped at once; {go_on}", stopped.exit_code)
        except RequestError as error:
            raise UsageError(str(error)) from None
        except TrainingError as error:
            if debug:
                raise
            fail(str(error), SOME_FAILED)


class TrainingProgress(Callbacks):
    """Tells a person what happens; use it as a context manager."""

    def __init__(self, stopping: Callable[[], bool], *, quiet: bool = False) -> None:
        """Ask ``stopping`` whether to stop. ``quiet`` leaves only what is wrong with videos."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._asked = stopping
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            *([TimeElapsedColumn()] if roomy() else []),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not self._live,
            speed_estimate_period=600,
        )
        self._task: TaskID | None = None
        self._what = ""
        self._done = self._total = 0
        self._shown = time.monotonic()
        self._fitting = False
        self._epochs = 0
        self.left_out = 0
        """Videos that could not be learned from."""

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        """Print a remark."""
        if not self._quiet:
            self._print(f"vidcomp: {in_options(line)}")

    def skipped(self, line: str) -> None:
        """Print why a video is left out."""
        self.left_out += 1
        if self._live:
            self._print(f"vidcomp: skipped: {printable(line)}")
        else:
            warn(line, prefix="skipped")

    def begin(self, what: str, total: int) -> None:
        """Start a bar of ``total`` steps."""
        self._what, self._done, self._total = what, 0, total
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total, state="")

    def advance(self) -> None:
        """Move the bar by one."""
        self._done += 1
        if self._task is not None:
            self._bar.advance(self._task)
        self._now_and_then(f"{self._what}: {self._done} of {self._total}")

    def step(self, state: StepState) -> None:
        """Show how far training is, and the running epoch's loss and accuracy."""
        done = (state.epoch - 1) * state.steps + state.step
        if not self._fitting:
            self._fitting = True
            self._epochs = state.epochs
            self.begin("", state.epochs * state.steps)
            # A training that goes on began elsewhere: the pace counts from here.
            assert self._task is not None
            self._bar.update(self._task, completed=done - 1)
            self._bar.reset(self._task, completed=done - 1)
        assert self._task is not None
        said = f"loss {state.loss:.4f}  training accuracy {state.accuracy:.1%}"
        where = f"epoch {state.epoch}/{state.epochs}"
        self._bar.update(self._task, completed=done, description=where, state=said)
        self._now_and_then(f"{where}, step {state.step} of {state.steps}: {said}")

    def epoch(self, row: dict[str, float]) -> None:
        """Print an epoch's line."""
        said = [f"loss {row['loss']:.4f}", f"training accuracy {row['accuracy']:.1%}"]
        said += [f"{name.replace('_', ' ')} {value:.1%}" for name, value in row.items() if name.startswith("val")]
        self.note(f"epoch {row['epoch']:.0f} of {self._epochs}: {', '.join(said)}, {row['seconds']:.0f} s")

    def stopping(self) -> bool:
        """Whether an interrupt has come."""
        return self._asked()

    def _now_and_then(self, line: str) -> None:
        if not self._live and time.monotonic() - self._shown >= _LINE_EVERY_S:
            self.note(line)

    def _print(self, line: str) -> None:
        self._shown = time.monotonic()
        if self._live:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)
