"""What makes a file of records survive whatever ends the program: whole records, and one writer."""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from filelock import FileLock, Timeout

from vidcomp.files import replace_file
from vidcomp.output.formats import Entry, Lines
from vidcomp.output.run import OutputError, Record, View, identity, kept_so_far, unwritable

# A killed program loses nothing that was written; a power cut at most what was written in this time.
_SYNC_EVERY_S = 5.0

AnyFinished = TypeVar("AnyFinished", bound="Finished")


class Finished(ABC):
    """A context that finishes what it writes, unless writing is what failed, and lets go of it in any case."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left to write."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def __enter__(self: AnyFinished) -> AnyFinished:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # Where writing has failed, more writing would hide the reason.
            if not isinstance(error, OutputError):
                self.finish()
        finally:
            self.close()


class RecordLog:
    """Records in a file, appended one by one; `entries` are those of earlier runs, by key, the latest of each."""

    def __init__(self, path: Path, codec: Lines) -> None:
        """Open or begin the file; a half-written record at its end is dropped.

        Raises:
            OutputError: it cannot be written, or is not a file of such records.
        """
        self.path = path
        self.codec = codec
        self.entries: dict[str, Entry] = {}
        # By the key that a record has in the file: the one it has from now on, and its new root.
        self._moved: dict[str, tuple[str, str]] = {}
        self._outdated = 0
        # Which labels are shown from now on, and the name of each record's run with that, by its name in the file.
        self._view: tuple[View, dict[str | None, str]] | None = None
        self._synced = time.monotonic()
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            self._end = self._scan()
            with kept_so_far(path):
                os.ftruncate(self._handle, self._end)
                if not self._end:
                    self._write(codec.header)
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, record: Record) -> None:
        """Add a record, whole or not at all; it supersedes an earlier one of the same key.

        Raises:
            OutputError: the system does not take it; the file ends with the record before.
        """
        key = self.codec.text(identity(record["input"]["root"], record["path"]))
        self._outdated += self.entries.pop(key, None) is not None
        with kept_so_far(self.path):
            self._write(self.codec.encode(record))
            if time.monotonic() - self._synced > _SYNC_EVERY_S:
                os.fsync(self._handle)
                self._synced = time.monotonic()

    def move(self, key: str, root: str) -> Entry:
        """Have a record's path be relative to another root from now on; in the file, once it is made or tidied."""
        entry = self.entries.pop(key)._replace(root=self.codec.text(root))
        self.entries[entry.key] = entry
        self._moved[key] = entry.key, root
        self._outdated += 1
        return entry

    def show(self, view: View, runs: dict[str | None, str]) -> None:
        """Have records of these runs show other labels from now on; in the file, once it is made or tidied."""
        if runs:
            self._view = view, runs
            self._outdated += 1

    def pieces(self) -> Iterator[bytes]:
        """The latest record of each key, as it is from now on."""
        last: dict[str, int] = {}
        roots: dict[int, str] = {}
        for index, piece in enumerate(self._pieces()):
            with contextlib.suppress(ValueError):
                key = self.codec.parse(piece).key
                if key in self._moved:
                    key, roots[index] = self._moved[key]
                last[key] = index
        wanted = set(last.values())
        for index, piece in enumerate(self._pieces()):
            if index in wanted:
                piece = self.codec.current(piece)
                if self._view and (run := self.codec.parse(piece).run) in self._view[1]:
                    piece = self.codec.seen(piece, self._view[0], self._view[1][run])
                yield self.codec.rooted(piece, roots[index]) if index in roots else piece

    def tidy(self) -> None:
        """Take superseded records out, all at once.

        Raises:
            OutputError: there is no room for the new file; the old one stays.
        """
        if self._outdated:
            with kept_so_far(self.path):
                replace_file(self.path, [self.codec.header], self.pieces())
            self._outdated = 0

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            os.fsync(self._handle)
        os.close(self._handle)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            self._end += len(data)
        except BaseException:
            # A full disk may have taken a part of it, and a signal may arrive at any point.
            os.ftruncate(self._handle, self._end)
            raise

    def _pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(len(self.codec.header))
            yield from self.codec.split(file)

    def _scan(self) -> int:
        """Gather the entries; returns where the last whole record ends."""
        header = self.codec.header
        with self.path.open("rb") as file:
            start = file.read(len(header))
        if start != header:
            if header.startswith(start.rstrip(b"\0")):
                return 0  # empty, or broken off within the header
            raise self._foreign(1)
        position = end = len(header)
        torn: tuple[int, bytes] | None = None
        for number, piece in enumerate(self._pieces(), start=2 if header else 1):
            if torn is not None:
                raise self._foreign(torn[0])
            position += len(piece)
            if self._remember(piece):
                end = position
            elif b"\0" in piece and self.codec.ended(piece):
                self._outdated += 1  # a hole that a power cut left
            else:
                torn = number, piece
        if torn is not None and not self._is_half(torn[1]):
            raise self._foreign(torn[0])
        return end

    def _remember(self, piece: bytes) -> bool:
        """Take note of a record; False if the piece is none."""
        try:
            entry = self.codec.parse(piece)
        except ValueError:
            return False
        self._outdated += (entry.key in self.entries) or self.codec.current(piece) is not piece
        self.entries[entry.key] = entry
        return True

    def _is_half(self, piece: bytes) -> bool:
        """Whether a piece is what an interrupted write leaves, rather than somebody's last line."""
        begun, beginning = piece.rstrip(b"\0"), self.codec.beginning
        return not self.codec.ended(piece) and (begun.startswith(beginning) or beginning.startswith(begun))

    def _foreign(self, number: int) -> OutputError:
        return OutputError(
            f"--output {self.path}: record {number} was not written by vidcomp; choose another file, or overwrite "
            "this one with --no-resume"
        )


class Lock:
    """Holds `.NAME.lock` beside a file until closed, or until its process ends, however that is.

    A file of its own, because the one written may be replaced while it is written.

    Raises:
        OutputError: another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), blocking=False, thread_local=False)
        try:
            path.parent.stat()  # the lock would make a folder that is not there
            self._lock.acquire()
        except Timeout:
            raise OutputError(
                f"--output {path}: another vidcomp is writing it; wait for that one, or choose another file"
            ) from None
        except OSError as error:
            raise unwritable(path, error) from None

    def close(self) -> None:
        """Take the lock file away, and let go."""
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()
        self._lock.release()
