"""Files, written whole or not at all, and their names as text."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Bytes of a name that common file systems allow.
_LONGEST_NAME = 255


@contextmanager
def replacing(path: Path, *, shared: bool = False, sync: bool = True) -> Iterator[Path]:
    """Give the path of a new file beside ``path``, which takes its place once it is whole, and else leaves no trace.

    The permissions of the file that was there are kept, and a link is followed. A pipe or a device stays what it is,
    and receives what was written.

    Args:
        path: the file to replace, or to make.
        shared: several programs may replace it at once; the last one wins.
        sync: wait until the file is on the disk, so that a power cut leaves the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            yield (written := Path(folder) / "new")
            with written.open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        return
    path = Path(os.path.realpath(path))
    new = _beside(path, secrets.token_hex(4) if shared else "")
    try:
        yield new
        if sync:
            handle = os.open(new, os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def replace_file(path: Path, *parts: Iterable[bytes]) -> None:
    """Write a file anew from its parts: either all of it is there afterwards, or the old one as it was.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as new, new.open("wb") as file:
        for part in parts:
            file.writelines(part)


def _beside(path: Path, token: str) -> Path:
    """Where a file is written until it is whole: by its own name, or by another if that would get too long."""
    name = f".{path.name}{token and f'.{token}'}.new"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".vidcomp-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.new"
    return path.with_name(name)


def absolute(path: str) -> str:
    """The absolute path; links stay links."""
    return os.path.abspath(path)  # noqa: PTH100 - a link that is a video stays that link


def encodable(text: str) -> str:
    """Text with what cannot be encoded (bytes of odd file names) shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(name: str) -> str:
    """A name on one line that shows what it is: no control character, change of direction or byte that is no text."""
    return "".join(repr(char)[1:-1] if _is_hazard(char) else char for char in encodable(name))


def counted(number: int, noun: str) -> str:
    """``1 video``, ``2 videos``: for nouns whose plural only has an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_hazard(char: str) -> bool:
    """Whether a character changes what stands around it; joiners, which some scripts and emoji need, do not."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\u200c\u200d"
