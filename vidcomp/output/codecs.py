"""Records as bytes that can be appended to a file one by one, and recognised there again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, Protocol

from vidcomp.output.writers import CSV_COLUMNS, csv_row, encodable

Record = dict[str, Any]


class Entry(NamedTuple):
    """What is remembered of a record: the file it is about, the run that made it, its best label or its error."""

    size: int | None
    mtime_ns: int | None
    run: str | None
    label: str | None
    error: str | None


class Codec(Protocol):
    """One way to write records."""

    header: bytes
    # How every record begins: by this, what a program left half-written is told from what it never wrote.
    beginning: bytes

    def key(self, name: str) -> str:
        """What a video of that name is called in the file."""
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

    def parse(self, piece: bytes) -> tuple[str, Entry]:
        """The key of a record and what is remembered of it.

        Raises:
            ValueError: it is not a whole record.
        """
        ...

    def record(self, piece: bytes) -> Record:
        """A whole record again, as far as this format keeps it."""
        ...


class JsonLines:
    """One JSON object a line, in ASCII, so that every name survives."""

    header = b""
    beginning = b'{"path": '

    def key(self, name: str) -> str:
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

    def parse(self, piece: bytes) -> tuple[str, Entry]:
        """Read a line back; one without `input` and `run` is a record of an unknown run."""
        if not self.ended(piece):
            raise ValueError("not a whole record")
        record = json.loads(piece)
        try:
            source = record.get("input") or {}
            labels, error = record["labels"], record["error"]
            return str(record["path"]), Entry(
                source.get("size"),
                source.get("mtime_ns"),
                record.get("run"),
                labels[0]["label"] if labels else None,
                error["kind"] if error else None,
            )
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError("not a record") from error

    def record(self, piece: bytes) -> Record:
        """All of it."""
        record: Record = json.loads(piece)
        return record


class Csv:
    """One row a video: the columns of `--format csv`, then the file's size and time of change, and the run."""

    header = ",".join((*CSV_COLUMNS, "size", "mtime_ns", "run")).encode() + b"\n"
    beginning = b""

    def key(self, name: str) -> str:
        """The name with bytes of no encoding shown as escapes."""
        return encodable(name)

    def encode(self, record: Record) -> bytes:
        """A row."""
        source = record["input"] or {"size": "", "mtime_ns": ""}
        text = io.StringIO()
        row = [*csv_row(record), source["size"], source["mtime_ns"], record["run"]]
        csv.writer(text, lineterminator="\n").writerow(row)
        return text.getvalue().encode()

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

    def parse(self, piece: bytes) -> tuple[str, Entry]:
        """Read a row back."""
        row = self._row(piece)
        size, mtime_ns = (int(row[key]) if row[key] else None for key in ("size", "mtime_ns"))
        return row["path"], Entry(size, mtime_ns, row["run"], row["label"] or None, row["error_kind"] or None)

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

    def _row(self, piece: bytes) -> dict[str, str]:
        rows = list(csv.reader(io.StringIO(piece.decode(), newline=""))) if self.ended(piece) else []
        if len(rows) != 1 or len(rows[0]) != len(CSV_COLUMNS) + 3:
            raise ValueError("not a record")
        return dict(zip((*CSV_COLUMNS, "size", "mtime_ns", "run"), rows[0], strict=True))
