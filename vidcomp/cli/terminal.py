"""What a command reads from and tells a terminal, a pipe or a file: its streams, warnings, progress and summary."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vidcomp.files import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from vidcomp.inference.batch import RunStats
    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.prediction import Prediction

_LINE_EVERY_S = 30.0
_LABELS_SHOWN = 25
# Arguments that the library's messages speak of, and the options that give them.
_OPTIONS = {
    "allow_urls": "--allow-urls",
    "background": "--background",
    "overwrite": "--overwrite",
    "compressor": "--compressor",
    "cut": "--cut",
    "cuts": "--cut",
    "device": "--device",
    "from_scratch": "--from-scratch",
    "from_trained": "--from-trained",
    "group_by": "--group-by",
    "kinds": "--compressor",
    "null": "--null",
    "precision": "--precision",
    "resume": "--resume",
    "tau": "--tau",
    "teacher": "--teacher",
}
_LINE_END = re.compile(r"\s*\n\s*")
_ARGUMENT = re.compile(rf"(?<![^\s(])({'|'.join(_OPTIONS)})=('[^']*'|\w[\w.+-]*\w|\w)(?=$|[\s:;,)])")


class OutputLost(OSError):  # noqa: N818 - says what happened
    """Standard output cannot be written: it was closed, or its disk is full."""


class _Output(io.FileIO):
    """Standard output that tells its own errors from those of other files."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.errno, error.strerror) from None


class _Messages(io.FileIO):
    """Standard error that loses what cannot be written, on a full disk, say, rather than end the work."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


def prepare_streams() -> None:
    """Open those of the streams that the caller closed, as cron may, and make every name printable.

    Files that are opened later would otherwise take the streams' numbers, and receive what is written to these. A
    missing input is empty, messages that stderr does not take are lost, and results for a missing output are an error.
    """
    # In the order of their numbers: each open takes the lowest that is free.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if not sys.stdout.isatty():
        raw = _Output(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding=sys.stdout.encoding)
    messages = io.BufferedWriter(_Messages(sys.stderr.fileno(), "w", closefd=False))
    sys.stderr = io.TextIOWrapper(messages, encoding=sys.stderr.encoding, line_buffering=True)
    # Names that are not valid UTF-8 must be printable.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def in_options(message: str) -> str:
    """What the library says of its arguments (``device='cuda'``) in terms of options (``--device cuda``)."""

    def option(match: re.Match[str]) -> str:
        name, value = _OPTIONS[match[1]], match[2].strip("'")
        return name if value == "True" else f"{name} {value}"

    return _ARGUMENT.sub(option, message)


def warn(message: str, prefix: str = "warning") -> None:
    """Print one line on stderr, whatever characters the names in it have."""
    print(f"vidcomp: {prefix}: {printable(_LINE_END.sub(' ', in_options(message)))}", file=sys.stderr)


def tell_prediction(prediction: Prediction, *, quiet: bool) -> None:
    """Say what is wrong with a video, and unless ``quiet``, what was skipped or repaired."""
    if prediction.error is not None:
        warn(prediction.error.message, prefix="error")
    elif not quiet:
        for note in prediction.notes:
            warn(f"{prediction.path}: {note}")


def compile_model(classifier: Classifier, *, quiet: bool) -> None:
    """Compile the classifier's network and say how long that took; where it is not possible, warn and go on."""
    compilation = classifier.runner.compile()
    if compilation.problem is not None:
        warn(f"--compile: not possible here, going on without it ({compilation.problem})")
    elif not quiet:
        print(f"vidcomp: the model was compiled in {compilation.seconds:.1f} s", file=sys.stderr)


@contextmanager
def download_progress(*, quiet: bool = False) -> Iterator[Callable[[int, int | None], None] | None]:
    """Give a callback for downloads that draws a bar on stderr if that is a terminal, else ``None``."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    with _bar(TextColumn("downloading weights"), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task("download", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def video_progress(total: int, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Give a callback, called with each finished video's path, that moves a bar on stderr if that is a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda path: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    counts = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with _bar(TextColumn("classifying"), *counts) as bar:
        task = bar.add_task("videos", total=total)
        yield lambda path: bar.advance(task)


@contextmanager
def batch_progress(stats: RunStats, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Give a callback for each finished video: a live display on a terminal, elsewhere a line every half minute."""
    if quiet or stats.total < 2:
        yield lambda: None
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, SpinnerColumn, TextColumn

        line = TextColumn("{task.description}", markup=False)
        with _bar(SpinnerColumn(), BarColumn(bar_width=20), line) as bar:
            task = bar.add_task(progress_line(stats), total=stats.total)
            yield lambda: bar.update(task, completed=stats.done + stats.passed_over, description=progress_line(stats))
    else:
        shown = time.monotonic()

        def advance() -> None:
            nonlocal shown
            if time.monotonic() - shown >= _LINE_EVERY_S:
                shown = time.monotonic()
                print(f"vidcomp: {progress_line(stats)}", file=sys.stderr, flush=True)

        yield advance


def _bar(*columns: ProgressColumn) -> Progress:
    """A display on stderr that goes when it is done."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)


def run_summary(stats: RunStats) -> str:
    """How many videos were labeled, by label, and how many failed, by kind of error."""
    labeled, failed = sum(stats.labels.values()), sum(stats.errors.values())
    facts = [f"{labeled} labeled", f"{failed} failed"]
    facts += [f"{stats.known} of them done before"] if stats.known else []
    facts += [f"{stats.passed_over} passed over: no videos"] if stats.passed_over else []
    facts += [f"{_duration(stats.elapsed_s)}, {_pace(stats)}"] if stats.done else []
    lines = [", ".join(facts)]
    if stats.labels:
        lines += _counts("label", ((label or "(none probable enough)", n) for label, n in _common(stats.labels)))
    if stats.errors:
        lines += _counts("error", _common(stats.errors))
    return "\n".join(lines)


def progress_line(stats: RunStats) -> str:
    """Done, failed, pace, time left, and what it is that takes the time."""
    left = stats.left_s
    facts = [f"{stats.done + stats.passed_over} of {stats.total} done", f"{stats.failed} failed"]
    if stats.done:
        facts.append(_pace(stats))
    if left is not None:
        facts.append(f"{_duration(left)} left")
    return ", ".join(facts)


def _pace(stats: RunStats) -> str:
    elapsed = max(stats.elapsed_s, 1e-9)
    return f"{stats.done / elapsed:.3g} videos/s, {stats.frames / elapsed:.3g} frames/s, {stats.bound}-bound"


def _common(counts: Counter[str | None] | Counter[str]) -> list[tuple[str | None, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))


def _counts(heading: str, counts: Iterable[tuple[str | None, int]]) -> list[str]:
    rows = [(printable(name or ""), str(number)) for name, number in counts]
    more = len(rows) - _LABELS_SHOWN
    rows = [(heading, "videos"), *rows[:_LABELS_SHOWN]]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {number:>6}" for name, number in rows]
    return [*lines, f"  … and {more} more"] if more > 0 else lines


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
