"""Records as bytes that can be appended to a file one by one, and recognised there again."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Any, NamedTuple, Protocol

from vidcomp.output.writers import CSV_COLUMNS, csv_line, csv_row, encodable

Record = dict[str, Any]

_SOURCE_COLUMNS = ("size", "mtime_ns", "run", "root")


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


class Entry(NamedTuple):
    """What is remembered of a record: the file it is about, the run that made it, its best label or its error."""

    path: str
    root: str | None
    size: int | None
    mtime_ns: int | None
    run: str | None
    label: str | None
    error: str | None

    @property
    def key(self) -> str:
        """What the record is known by."""
        return identity(self.root, self.path)


class Codec(Protocol):
    """One way to write records."""

    header: bytes
    # How every record begins: by this, what a program left half-written is told from what it never wrote.
    beginning: bytes

    def text(self, name: str) -> str:
        """A path as the file holds it."""
        ...

    def encode(self, record: Record) -> bytes:
        """A whole record, its end included."""
        ...

    def split(self, file: IO[bytes]) -> Iterator[bytes]:
        """The pieces after the header that should each be a record; only the last may lack its end."""
        ...

    def ended(self, piece: bytes) -> bool:
        """Whether a piece has its end."""
        ...

    def parse(self, piece: bytes) -> Entry:
        """What is remembered of a record.

        Raises:
            ValueError: it is not a whole record.
        """
        ...

    def record(self, piece: bytes) -> Record:
        """A whole record again, as far as this format keeps it."""
        ...

    def rooted(self, piece: bytes, root: str) -> bytes:
        """The same record with its path relative to another root."""
        ...

    def outdated(self, piece: bytes) -> bool:
        """Whether a record has keys of an earlier version, which `current` replaces."""
        ...

    def current(self, piece: bytes) -> bytes:
        """The same record under the keys of this version."""
        ...


class JsonLines:
    """One JSON object a line, in ASCII, so that every name survives."""

    header = b""
    beginning = b'{"path": '

    def text(self, name: str) -> str:
        """The name itself."""
        return name

    def encode(self, record: Record) -> bytes:
        """A line."""
        return json.dumps(record, allow_nan=False).encode("ascii") + b"\n"

    def split(self, file: IO[bytes]) -> Iterator[bytes]:
        """Lines."""
        return iter(file)

    def ended(self, piece: bytes) -> bool:
        """Whether the line is whole."""
        return piece.endswith(b"\n")

    def parse(self, piece: bytes) -> Entry:
        """Read a line back; one without `input` and `run` is a record of an unknown run."""
        if not self.ended(piece):
            raise ValueError("not a whole record")
        record = json.loads(piece)
        try:
            source = record.get("input") or {}
            labels, error = record["labels"], record["error"]
            return Entry(
                str(record["path"]),
                _shared(source.get("root")),
                source.get("size"),
                source.get("mtime_ns"),
                _shared(record.get("run")),
                labels[0]["label"] if labels else None,
                error["kind"] if error else None,
            )
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError("not a record") from error

    def record(self, piece: bytes) -> Record:
        """All of it, under the keys of this version."""
        record: Record = json.loads(piece)
        return _renamed(record) if self.outdated(piece) else record

    def rooted(self, piece: bytes, root: str) -> bytes:
        """The line with another `root`."""
        record = self.record(piece)
        source = record["input"] or {"size": None, "mtime_ns": None}
        return self.encode({**record, "input": {**source, "root": root}})

    def outdated(self, piece: bytes) -> bool:
        """Whether this is a record of vidcomp 0.1.0 with windows or attention."""
        return b'"segments":' in piece

    def current(self, piece: bytes) -> bytes:
        """The line with today's keys."""
        return self.encode(self.record(piece)) if self.outdated(piece) else piece


class Csv:
    """One row a video: the columns of `--format csv`, then the file's size and time of change, the run, the root."""

    header = ",".join((*CSV_COLUMNS, *_SOURCE_COLUMNS)).encode() + b"\n"
    header_of_0_1_0 = ",".join((*CSV_COLUMNS, *_SOURCE_COLUMNS[:-1])).encode() + b"\n"
    beginning = b""

    def text(self, name: str) -> str:
        """The name with bytes of no encoding shown as escapes."""
        return encodable(name)

    def encode(self, record: Record) -> bytes:
        """A row."""
        source = record["input"]
        root = None if source["root"] is None else encodable(source["root"])
        return self._piece([*csv_row(record), source["size"], source["mtime_ns"], record["run"], root])

    def split(self, file: IO[bytes]) -> Iterator[bytes]:
        """Rows; a name that holds a line break stands in quotes, so a row ends where its quotes are even."""
        piece = b""
        for line in file:
            piece += line
            if self.ended(piece):
                yield piece
                piece = b""
        if piece:
            yield piece

    def ended(self, piece: bytes) -> bool:
        """Whether the row is whole."""
        return piece.endswith(b"\n") and piece.count(b'"') % 2 == 0

    def parse(self, piece: bytes) -> Entry:
        """Read a row back."""
        row = self._row(piece)
        size, mtime_ns = (int(row[key]) if row[key] else None for key in ("size", "mtime_ns"))
        root, run, label, error = (row[key] or None for key in ("root", "run", "label", "error_kind"))
        return Entry(row["path"], _shared(root), size, mtime_ns, _shared(run), label, error)

    def record(self, piece: bytes) -> Record:
        """The best label alone, and neither attention nor notes: the others cannot be told apart for certain."""
        row = self._row(piece)
        best = [{"label": row["label"], "probability": float(row["probability"])}] if row["label"] else []
        return {
            "path": row["path"],
            "status": row["status"],
            "error": {"kind": row["error_kind"], "message": row["error_message"]} if row["error_kind"] else None,
            "labels": best,
            "model": row["model"],
            "strategy": row["strategy"],
            "frames": {
                "decoded": int(row["frames_decoded"]),
                "duration_s": float(row["duration_s"]) if row["duration_s"] else None,
            },
            "attention": None,
            "notes": [],
        }

    def rooted(self, piece: bytes, root: str) -> bytes:
        """The row with another `root`."""
        return self._piece(list({**self._row(piece), "root": encodable(root)}.values()))

    def outdated(self, piece: bytes) -> bool:
        """Never: CSV has no place for what was renamed."""
        return False

    def current(self, piece: bytes) -> bytes:
        """The row itself."""
        return piece

    def of_0_1_0(self, file: IO[bytes]) -> Iterator[bytes]:
        """The rows that vidcomp 0.1.0 wrote, after its header, with the column that it lacked."""
        for piece in self.split(file):
            yield piece[:-1] + b",\n" if self.ended(piece) else piece

    def _piece(self, row: list[Any]) -> bytes:
        return csv_line(row).encode()

    def _row(self, piece: bytes) -> dict[str, str]:
        columns = (*CSV_COLUMNS, *_SOURCE_COLUMNS)
        rows = list(csv.reader(io.StringIO(piece.decode(), newline=""))) if self.ended(piece) else []
        if len(rows) != 1 or len(rows[0]) != len(columns):
            raise ValueError("not a record")
        return dict(zip(columns, rows[0], strict=True))


def _renamed(record: Record) -> Record:
    """A record of vidcomp 0.1.0 under today's keys, in their order."""
    attention = record.get("attention")
    if attention is not None:
        names = {"frames": "times_s", "segments": "attended"}
        attention = {names.get(key, key): value for key, value in attention.items()}
    record = {**record, "attention": attention}
    return {"windows" if key == "segments" else key: value for key, value in record.items()}


def _shared(text: Any) -> str | None:
    """A text that stands in every record, kept in memory once."""
    return None if text is None else sys.intern(str(text))
