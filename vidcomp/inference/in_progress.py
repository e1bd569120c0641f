"""A note of the videos in the works, which outlives a program that is killed: the next run then knows whom to suspect.

A video that was in the works when the program was killed is tried once more, after the others and with no other; if the
program is killed then, too, the video is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from filelock import FileLock, Timeout

from vidcomp.files import absolute, replacing
from vidcomp.inference.batch import KILLED_TWICE, Stamp, stamp_of
from vidcomp.video.errors import VideoCrashed
from vidcomp.zoo.downloads import cache_folder

_TOGETHER, _ALONE = 1, 2


class _HasPath(Protocol):
    @property
    def path(self) -> str: ...


Video = TypeVar("Video", bound=_HasPath)


class InProgress:
    """`.NAME.inprogress` beside a file: there while videos are worked on, and after the program was killed.

    A note that cannot be written stops nothing. It is not made safe against a power cut, which is no video's fault.

    Who keeps a record of each video says :meth:`begin` and :meth:`done`. A run of which only the whole counts may take
    a video several times: it says :meth:`attempt`, or :meth:`together` and :meth:`rest`, and at its end
    :meth:`complete`. Until then a video stays suspect, whatever went well.
    """

    def __init__(self, path: Path | None = None, *, resume: bool = True) -> None:
        """Read what a program that was killed has left; without `resume`, forget it. Without `path`, note nothing."""
        self._file = path.with_name(f".{path.name}.inprogress") if path is not None else None
        # By key: how the video was worked on, and the size and time of change of its file.
        self._suspects = self._read() if resume else {}
        self._begun: dict[str, tuple[int, int, int]] = {}
        self._left_out: set[str] = set()

    def deaths(self, key: str, stamp: Stamp | None) -> int:
        """How often the program died while this file was worked on: 0, 1, or 2 if the last time it was alone.

        A video of two deaths is left out: whoever asks does so.
        """
        how, *before = self._suspects.get(key, (0, 0, 0))
        if stamp is None or before != [stamp.size, stamp.mtime_ns]:
            return 0
        if how == _ALONE:
            self._left_out.add(key)
        return how

    def begin(self, key: str, stamp: Stamp | None, *, alone: bool) -> None:
        """Work on this video begins."""
        if stamp is not None:
            self._begun[key] = (_ALONE if alone else _TOGETHER, stamp.size, stamp.mtime_ns)
            self._write()

    def done(self, key: str) -> None:
        """The video has its record, or needs none."""
        if (self._begun.pop(key, None), self._suspects.pop(key, None)) != (None, None):
            self._write()

    def parted(self, videos: Iterable[Video]) -> tuple[list[Video], list[Video]]:
        """The videos that nothing is known of, and those that were in the works when the program was killed."""
        fresh: list[Video] = []
        suspects: list[Video] = []
        for video in videos:
            (suspects if self.deaths(absolute(video.path), stamp_of(video.path)) else fresh).append(video)
        return fresh, suspects

    def together(self, videos: Iterable[Video]) -> Iterator[Video]:
        """Note of each video, as it is drawn, that work on it begins beside others; :meth:`rest` ends it."""
        for video in videos:
            self.begin(absolute(video.path), stamp_of(video.path), alone=False)
            yield video

    def rest(self, path: str) -> None:
        """Work on this video pauses, or is done."""
        if self._begun.pop(absolute(path), None) is not None:
            self._write()

    @contextlib.contextmanager
    def attempt(self, path: str) -> Iterator[None]:
        """Within this, this video is worked on, and no other.

        Raises:
            VideoCrashed: the program was killed twice over it.
        """
        key, stamp = absolute(path), stamp_of(path)
        deaths = self.deaths(key, stamp)
        if deaths > 1:
            raise VideoCrashed(path, f"{KILLED_TWICE}; delete {self._file} to have it tried again")
        self.begin(key, stamp, alone=deaths > 0)
        try:
            yield
        finally:
            self.rest(path)

    def complete(self) -> None:
        """All was done that is to be done with the videos: only those that were left out stay noted."""
        self._begun.clear()
        self._suspects = {key: how for key, how in self._suspects.items() if key in self._left_out}
        self._write()

    def close(self) -> None:
        """The program ends as it should: what was begun has killed nobody."""
        self._begun.clear()
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        noted = {**self._suspects, **self._begun}
        with contextlib.suppress(OSError):
            if not noted:
                self._file.unlink(missing_ok=True)
                return
            with replacing(self._file, sync=False) as new:
                new.write_text(json.dumps(noted), encoding="ascii")

    def _read(self) -> dict[str, tuple[int, int, int]]:
        try:
            noted = json.loads(self._file.read_text(encoding="ascii")) if self._file is not None else {}
            return {str(key): (int(how), int(size), int(mtime_ns)) for key, (how, size, mtime_ns) in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


@contextlib.contextmanager
def noted_beside(path: Path) -> Iterator[InProgress]:
    """The note beside a file; while another process has it, one that is not kept: videos in its works killed nobody."""
    lock = FileLock(path.with_name(f".{path.name}.inprogress.lock"), blocking=False, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (Timeout, OSError):
        yield InProgress()
        return
    note = InProgress(path)
    try:
        yield note
    finally:
        note.close()
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def noted_in_cache(command: str, asked: Sequence[str]) -> contextlib.AbstractContextManager[InProgress]:
    """The note, in vidcomp's cache folder, of a command that writes no file; what of it was ``asked`` tells it apart.

    What names something that exists stands for its absolute path.
    """
    known = "\0".join([command, *(absolute(word) if os.path.lexists(word) else word for word in asked)])
    return noted_beside(cache_folder() / f"{command}-{hashlib.sha256(os.fsencode(known)).hexdigest()[:16]}")
