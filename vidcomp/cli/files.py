"""Files that a command writes besides its answer: reports, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidcomp.cli.errors import UsageError
from vidcomp.cli.terminal import warn
from vidcomp.files import replace_file


def check_file(option: str, path: Path, *extensions: str) -> None:
    """Find out before the work, not after it, that a file cannot be written.

    Raises:
        UsageError: it ends in none of ``extensions``, its folder is not there, or pictures cannot be drawn here.
    """
    extension = path.suffix.lower()
    if extension not in extensions:
        raise UsageError(f"{option} {path}: give a file that ends in {' or '.join(extensions)}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}; choose another file")
    if extension == ".png":
        from vidcomp.output.plots import HINT, available

        if not available():
            raise UsageError(f"{option} {path}: {HINT}")


def write_file(option: str, path: Path, make: Callable[[], bytes]) -> None:
    """Make a file's content and write it; a picture for which there is nothing to draw is left out with a warning.

    Raises:
        UsageError: it cannot be written.
    """
    from vidcomp.output.plots import PictureError

    try:
        replace_file(path, [make()])
    except PictureError as error:
        warn(f"{option} {path}: {error}")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file") from None
