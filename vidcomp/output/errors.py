"""What is wrong with the place where results should go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutputError(Exception):
    """Results cannot be kept there: the message says where, why, and what to do. What was written stays whole."""


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be opened to begin with."""
    return OutputError(f"--output {path}: cannot be written ({error.strerror}); choose another file")


@contextmanager
def kept_so_far(path: Path) -> Iterator[None]:
    """Turn what the system says while results are written, such as "no space left", into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"--output {path}: writing stopped ({error.strerror}); all that was labelled before is kept: "
            "mend that, and run the same command again to go on"
        ) from error
