"""Standard input, output and error as the program needs them, whatever it was started with."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


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


def prepare_streams() -> None:
    """Open those of the streams that the caller closed, as cron may, and make every name printable.

    Files that are opened later would otherwise take the streams' numbers, and receive what is written to these. A
    missing input is empty, messages to a missing stderr are lost, and results for a missing output are an error.
    """
    # In the order of their numbers: each open takes the lowest that is free.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if not sys.stdout.isatty():
        raw = _Output(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding=sys.stdout.encoding)
    # Names that are not valid UTF-8 must be printable.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
