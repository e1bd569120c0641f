"""How a command ends when something is wrong: one line on stderr and the documented exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vidcomp.cli.signals import Stopped
from vidcomp.cli.terminal import OutputLost, warn

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
    from vidcomp.output.places import OutputError
    from vidcomp.video import DecoderUnavailable, SourceError
    from vidcomp.zoo import ZooError

    try:
        yield
        sys.stdout.flush()
    except (UsageError, ZooError, SourceError, OutputError, DecoderUnavailable) as error:
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
