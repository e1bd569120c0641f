"""Where results go: a place of its own for each video in a folder, and videos sorted into folders."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath

from vidcomp.files import absolute
from vidcomp.output.run import OutputError

_FORBIDDEN = '/\\:*?"<>|\0'


class Places:
    """Gives out places in a folder, as the videos lie in theirs and never outside it.

    `.vidcomp-places.jsonl` in the folder remembers whose they are: another video of the same name gets a number, as in
    `x (2).mp4`, rather than what was made of the first. Videos are noted relative to the folder, as both may be moved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / ".vidcomp-places.jsonl"
        self._owners = dict(self._read())

    def of(self, path: str, video: str) -> Path:
        """The place of a video that is called `path`; what is made of it appends to this name.

        Args:
            path: the video's relative path, or another name of it; absolute ones and `..` lead into the folder, too.
            video: its absolute path, or address.
        """
        named = PurePath(path)
        parts = [part for part in named.parts if part not in ("..", named.anchor)]
        if os.path.isabs(video):  # noqa: PTH117
            with contextlib.suppress(ValueError):  # another drive of Windows
                video = os.path.relpath(video, self._folder)
        inside = PurePath(*parts)
        for number in itertools.count(1):
            place = inside if number == 1 else inside.with_name(f"{inside.stem} ({number}){inside.suffix}")
            owner = self._owners.get(str(place))
            if owner is None:
                self._owners[str(place)] = video
                self._write(str(place), video)
            if owner in (None, video):
                break
        return self._folder / place

    def _write(self, place: str, video: str) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="ascii") as file:
                # A line that was torn ends here.
                file.write("\n" + json.dumps([place, video]))

    def _read(self) -> Iterator[tuple[str, str]]:
        try:
            lines = self._file.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # torn, or somebody else's
                place, video = json.loads(line)
                yield str(place), str(video)


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
