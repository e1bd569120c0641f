"""Videos sorted into a folder for each label, by links or by moving them. Nothing is ever deleted or overwritten."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vidcomp.files import absolute
from vidcomp.output.places import OutputError

_FORBIDDEN = '/\\:*?"<>|\0'


class Sorter:
    """Puts videos under `FOLDER/LABEL/`; a name that is taken gets a number: `x (2).mp4`."""

    def __init__(self, folder: Path, *, move: bool) -> None:
        self.folder = folder
        self._move = move

    def place(self, path: str, label: str) -> Path | None:
        """Link or move one video; returns where it now is, None if it had gone already.

        Raises:
            OutputError: the folder cannot be written.
        """
        source = Path(absolute(path))
        folder = self.folder / folder_name(label)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _moved(source, folder) if self._move else _linked(source, folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: {source.name} cannot be put there ({error.strerror}); what is there stays"
            ) from error


def folder_name(label: str) -> str:
    """A label as the name of a folder, on any system."""
    name = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in label).strip(" .")
    return name or "_"


def _linked(source: Path, folder: Path) -> Path:
    for target in _names(source, folder):
        if target.is_symlink() and target.readlink() == source:
            return target
        with contextlib.suppress(FileExistsError):
            target.symlink_to(source)
            return target
    raise AssertionError("names do not run out")


def _moved(source: Path, folder: Path) -> Path | None:
    if not os.path.lexists(source):
        return None
    for target in _names(source, folder):
        if os.path.realpath(target.parent) == os.path.realpath(source.parent) and target.name == source.name:
            return target
        try:
            if source.is_symlink() or not _rename(source, target):
                _copy(source, target)
        except FileExistsError:
            # A move that was broken off halfway has left both names to one file.
            if target.is_symlink() or not target.samefile(source):
                continue
        source.unlink(missing_ok=True)
        return target
    raise AssertionError("names do not run out")


def _rename(source: Path, target: Path) -> bool:
    """Give the file a second name, which unlike a rename never replaces; False where only a copy will do."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False  # another disk, or one without such links
    return True


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.parent / source.readlink())
        return
    # The name is taken first, so that nothing can be replaced, and let go if the copy fails.
    with target.open("xb") as file:
        try:
            with source.open("rb") as original:
                shutil.copyfileobj(original, file)
            file.flush()
            os.fsync(file.fileno())
            shutil.copystat(source, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _names(source: Path, folder: Path) -> Iterator[Path]:
    yield folder / source.name
    for number in itertools.count(2):
        yield folder / f"{source.stem} ({number}){source.suffix}"
