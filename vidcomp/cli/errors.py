"""How a command ends when something is wrong, or a signal asks it to: in good order, with one line on stderr and the
documented exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from vidcomp.cli.terminal import OutputLost, warn


class Stopped(KeyboardInterrupt):
    """A signal has asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells expect of a program that a signal ended."""
        return 128 + self.number


class Stop:
    """Remembers a signal whose exception got lost, as it does in a destructor."""

    def __init__(self) -> None:
        self.number: int | None = None

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Within this, an interrupt, a request to terminate and a lost terminal raise Stopped in the main thread."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.number = number
        raise Stopped(number)

    with _handled_by(handle):
        yield stop


@contextmanager
def stop_requests(said: bytes) -> Iterator[Stop]:
    """Within this, the first such signal is remembered and answered by the line ``said``; the second raises Stopped."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.number is not None:
            raise Stopped(number)
        stop.number = number
        # Not print: the signal may have come in the middle of one.
        os.write(2, said)

    with _handled_by(handle):
        yield stop


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    # What the caller has chosen to ignore, as nohup does, stays ignored.
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


OK = 0
SOME_FAILED = 1
USAGE = 2
INTERRUPTED = 130

# What writing to standard output raises.
OUTPUT_ERRORS = (BrokenPipeError, OutputLost)


class UsageError(Exception):
    """The command cannot be run as given: the message says what and what to do."""


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turn the errors that a user can mend into one line and an exit code; ``debug`` lets tracebacks through."""
    from vidcomp.output.run import OutputError
    from vidcomp.scale.engine import EngineError
    from vidcomp.video import DecoderUnavailable, SourceError
    from vidcomp.zoo import ZooError

    try:
        yield
        sys.stdout.flush()
    except (UsageError, ZooError, SourceError, OutputError, EngineError, DecoderUnavailable) as error:
        if debug:
            raise
        fail(str(error), USAGE)
    except Stopped as stopped:
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:
        if debug:
            raise
        fail("interrupted", INTERRUPTED)
    except OUTPUT_ERRORS as error:
        raise typer.Exit(tell_lost_output(error)) from None
    except OSError as error:
        if debug:
            raise
        # Whatever else the system refuses: a name too long, a folder that was removed.
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file or folder"
        fail(f"{name}: cannot be used ({error.strerror or error}); choose another place", USAGE)


def tell_lost_output(error: OSError) -> int:
    """Say that standard output cannot be written, and return the exit code.

    Whoever read it may just have gone, as ``head`` does: that is nothing to tell.
    """
    # What is left to write must not make the interpreter complain at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return SOME_FAILED
    warn(f"standard output cannot be written ({error.strerror}): redirect it, or give --output FILE", prefix="error")
    return USAGE


def fail(message: str, code: int) -> None:
    """Print one line on stderr and exit."""
    warn(message, prefix="error")
    raise typer.Exit(code)
