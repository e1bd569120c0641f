"""Where results go: what can be wrong with that place, and a place of its own for each video, now and in later runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePath


class OutputError(Exception):
    """Results cannot be kept there: the message says where, why, and what to do. What was written stays whole."""


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be opened to begin with."""
    return OutputError(f"--output {path}: cannot be written ({error.strerror}); choose another file")


@contextlib.contextmanager
def kept_so_far(path: Path) -> Iterator[None]:
    """Turn what the system says while results are written, such as "no space left", into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"--output {path}: writing stopped ({error.strerror}); all that was labelled before is kept: "
            "mend that, and run the same command again to go on"
        ) from error


def identity(root: str | None, path: str) -> str:
    """What tells a video from all others: its absolute path, links kept; or its address.

    Args:
        root: the absolute folder that `path` is relative to; None for an address. A relative path without a root, as
            vidcomp 0.1.0 wrote it, stands for itself.
        path: the video as its record names it.
    """
    if root is None:
        return str(PurePath(path)) if os.path.isabs(path) else path  # noqa: PTH117
    folder, parts = PurePath(root), list(PurePath(path).parts)
    # Behind a link, "..", leads elsewhere than the text says; the root holds no link's "..".
    while parts and parts[0] == "..":
        folder = folder.parent
        del parts[0]
    return str(folder.joinpath(*parts))


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
