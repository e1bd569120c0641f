"""What a command reads from and tells a terminal, a pipe or a file: its streams, warnings, progress and summary."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vidcomp import __version__
from vidcomp.files import counted, printable

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress, ProgressColumn

    from vidcomp.inference.batch import RunStats
    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.prediction import Prediction

_LINE_EVERY_S = 30.0
# What is said on standard error, and in --log-file if there is one.
_log = logging.getLogger("vidcomp.cli")
_log.propagate = False
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}
_LABELS_SHOWN = 25
_ROOMY = 60
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
    "strategy": "--strategy",
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
    say(f"{prefix}: {printable(_LINE_END.sub(' ', in_options(message)))}", _LEVELS.get(prefix, logging.INFO))


def say(message: str, level: int = logging.INFO) -> None:
    """Print a message of one line or more on stderr, and keep it in the log file if there is one."""
    print(_fitted(f"vidcomp: {message}"), file=sys.stderr, flush=True)
    note(message, level)


def _fitted(text: str) -> str:
    """Lines as they are or, on a terminal, wrapped between words to its width."""
    if not sys.stderr.isatty():
        return text
    width, lines = _columns(), []
    for line in text.splitlines():
        if len(line) <= width:
            lines.append(line)
            continue
        # Only now: it would delay the first line that a command says.
        from vidcomp.output.terminal import wrapped

        lines += wrapped(line, width, " " * (len(line) - len(line.lstrip()) + 2))
    return "\n".join(lines)


def note(message: str, level: int = logging.INFO) -> None:
    """Keep a message in the log file alone."""
    if _log.handlers:
        _log.log(level, message)


@contextmanager
def log_file(path: Path | None) -> Iterator[None]:
    """Within this, messages are appended to a file too, each with its date and time.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        from vidcomp.cli.errors import UsageError

        raise UsageError(f"--log-file {path}: cannot be written ({error.strerror}); choose another file") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _log.setLevel(logging.INFO)
    _log.addHandler(handler)
    try:
        note(f"vidcomp {__version__}: {shlex.join(sys.argv[1:])}")
        yield
    finally:
        _log.removeHandler(handler)
        handler.close()


def loading(model: str, device: str, *, quiet: bool) -> None:
    """Say on a terminal at once what the program is busy with: importing torch and reading weights take seconds."""
    message = f"loading {printable(model)}" + ("" if device == "auto" else f" on {device}") + " …"
    if sys.stderr.isatty() and not quiet:
        say(message)
    else:
        note(message)


def beginning(videos: int, model: str, device: str) -> None:
    """Say what begins, and when: the header of a log that cron keeps."""
    say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} labeling {counted(videos, 'video')} with {printable(model)} on {device}")


def tell_prediction(prediction: Prediction, *, quiet: bool, verbose: bool = False) -> None:
    """Say what is wrong with a video, and unless ``quiet``, what was skipped or repaired.

    What it shows is in the log file, and with ``verbose`` on stderr, too.
    """
    if prediction.error is not None:
        warn(prediction.error.message, prefix="error")
        return
    for remark in prediction.notes if not quiet else ():
        warn(f"{prediction.path}: {remark}")
    label, timing = prediction.top, prediction.timing
    said = f"{label.label} {label.probability:.1%}" if label else "no label is probable enough"
    line = printable(f"{prediction.path}: {said} ({timing.decode_s + timing.model_s:.1f} s)")
    (say if verbose else note)(line)


def compile_model(classifier: Classifier, *, quiet: bool) -> None:
    """Compile the classifier's network and say how long that took; where it is not possible, warn and go on."""
    compilation = classifier.runner.compile()
    if compilation.problem is not None:
        warn(f"--compile: not possible here; continuing without it ({compilation.problem})")
    elif not quiet:
        say(f"the model was compiled in {compilation.seconds:.1f} s")


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

    elapsed = [TimeElapsedColumn()] if roomy() else []
    left = (TextColumn("left"), TimeRemainingColumn())
    with _bar(TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), *elapsed, *left) as bar:
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
                say(f"{time.strftime('%H:%M:%S')} {progress_line(stats)}")

        yield advance


def roomy() -> bool:
    """Whether the terminal is wide enough for the time that has passed beside the time that is left."""
    return _columns() >= _ROOMY


def _columns() -> int:
    from rich.console import Console

    return Console(stderr=True).width


def _bar(*columns: ProgressColumn) -> Progress:
    """A display on stderr that goes when it is done."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)


def run_summary(stats: RunStats, places: Iterable[tuple[str, str | Path | None]] = ()) -> str:
    """How many videos were labeled, per label, how many failed, per kind of error, and where what was made lies."""
    labeled, failed = sum(stats.labels.values()), sum(stats.errors.values())
    facts = [f"{labeled} labeled", f"{failed} failed"]
    facts += [f"{stats.known} of them done before"] if stats.known else []
    facts += [f"{stats.passed_over} skipped: not videos"] if stats.passed_over else []
    facts += [f"{_duration(stats.elapsed_s)}, {_pace(stats)}"] if stats.done else []
    lines = [", ".join(facts)]
    if stats.labels:
        lines += _counts("label", ((label or "(none probable enough)", n) for label, n in _common(stats.labels)))
    if stats.errors:
        lines += _counts("error", _common(stats.errors))
    lines += [f"  {line}" for line in place_lines(places)]
    return "\n".join(lines)


def place_lines(places: Iterable[tuple[str, str | Path | None]]) -> list[str]:
    """A line for each thing that a run made, and where it lies; ``None`` was not made."""
    return [f"{what}: {printable(str(place))}" for what, place in places if place is not None]


def progress_line(stats: RunStats) -> str:
    """Done, time left, failed, pace, and what it is that takes the time: on a narrow terminal, the end is cut."""
    left = stats.left_s
    facts = [f"{stats.done + stats.passed_over + stats.known} of {stats.total + stats.known} done"]
    if left is not None:
        facts.append(f"{_duration(left)} left")
    facts.append(f"{stats.failed} failed")
    if stats.done:
        facts.append(_pace(stats))
    return ", ".join(facts)


def _pace(stats: RunStats) -> str:
    elapsed = max(stats.elapsed_s, 1e-9)
    each = elapsed / stats.done
    pace = f"{each:.1f} s per video" if each > 1 else f"{1 / each:.3g} videos per second"
    slower = "decoding" if stats.bound == "decode" else "the model"
    return f"{pace}, {stats.frames / elapsed:.3g} frames per second, {slower} takes the time"


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
