"""What all pictures share: they are drawn by the optional package matplotlib."""

from __future__ import annotations

from importlib.util import find_spec

from vidcomp.files import printable

HINT = "pictures need matplotlib: pip install 'vidcomp[plots]'"


class PictureError(ValueError):
    """The picture cannot be made: the message says why."""


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def require() -> None:
    """Make sure that pictures can be drawn.

    Raises:
        PictureError: matplotlib is not installed.
    """
    if not available():
        raise PictureError(HINT)


def plain(text: str) -> str:
    """Text that matplotlib takes as it stands: a dollar sign would begin a formula."""
    return printable(text).replace("$", r"\$")
