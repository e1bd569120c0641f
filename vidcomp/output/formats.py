"""The formats of records: JSON Lines, CSV and JSON, as a stream, and as a file that later runs go on with."""

from __future__ import annotations

import csv
import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, TextIO

from vidcomp.files import encodable, printable, replace_file
from vidcomp.inference.prediction import Prediction
from vidcomp.output.run import OutputError, Record, View, identity

# What a record is in CSV, which has no place for attention, notes and windows. Moments come last, after the others and
# those of a file: 0.1.0 had none.
_CSV: dict[str, Callable[[Record], Any]] = {
    "path": lambda record: encodable(record["path"]),
    "status": itemgetter("status"),
    "label": lambda record: _best(record, "{label}"),
    "probability": lambda record: _best(record, "{probability:.6f}"),
    "top_k": lambda record: "; ".join("{label}={probability:.4f}".format(**label) for label in record["labels"]),
    "model": itemgetter("model"),
    "strategy": itemgetter("strategy"),
    "frames_decoded": lambda record: record["frames"]["decoded"],
    "frames_used": lambda record: record["frames"]["used"],
    "frames_repaired": lambda record: record["frames"]["repaired"],
    "duration_s": lambda record: _rounded(record["frames"]["duration_s"]),
    "decode_s": lambda record: f"{record['timing']['decode_s']:.4f}",
    "model_s": lambda record: f"{record['timing']['model_s']:.4f}",
    "error_kind": lambda record: record["error"]["kind"] if record["error"] else "",
    "error_message": lambda record: encodable(record["error"]["message"]) if record["error"] else "",
}
_MOMENTS = "moments"
_SOURCE_COLUMNS = ("size", "mtime_ns", "run", "root")
# Records of vidcomp 0.1.0 with windows or attention have it.
_OLD_KEY = b'"segments":'


class Entry(NamedTuple):
    """What is remembered of a record: the file it is about, the run that made it, its best label or its error.

    `all_labels` says whether it holds the labels that it does not show.
    """

    path: str
    root: str | None
    size: int | None
    mtime_ns: int | None
    run: str | None
    label: str | None
    probability: float | None
    error: str | None
    all_labels: bool = False

    @property
    def key(self) -> str:
        """What the record is known by."""
        return identity(self.root, self.path)


class Streamed(ABC):
    """A format that can be written to a stream, record by record."""

    stream_header = b""

    @abstractmethod
    def streamed(self, record: Record, *, first: bool, terminal: bool) -> bytes:
        """What a record adds; on a terminal, what would act on it is shown as escapes."""

    def stream_end(self, *, empty: bool) -> bytes:
        """What stands after the last record."""
        return b""


class Lines(Streamed):
    """A format that grows by a piece per record, and whose records are recognized again in the file."""

    header = b""
    # How every record begins: by this, what a program left half-written is told from what it never wrote.
    beginning = b""

    def text(self, name: str) -> str:
        """A path as the file holds it."""
        return encodable(name)

    @abstractmethod
    def encode(self, record: Record) -> bytes:
        """A whole record, its end included; with ``input`` and ``run`` if it has them."""

    def streamed(self, record: Record, *, first: bool, terminal: bool) -> bytes:
        """The same as in a file."""
        return self.encode(record)

    def ended(self, piece: bytes) -> bool:
        """Whether a piece has its end."""
        return piece.endswith(b"\n")

    def split(self, file: IO[bytes]) -> Iterator[bytes]:
        """The pieces after the header that should each be a record; only the last may lack its end."""
        piece = b""
        for line in file:
            piece += line
            if self.ended(piece):
                yield piece
                piece = b""
        if piece:
            yield piece

    @abstractmethod
    def parse(self, piece: bytes) -> Entry:
        """What is remembered of a record.

        Raises:
            ValueError: it is not a whole record.
        """

    @abstractmethod
    def record(self, piece: bytes) -> Record:
        """A whole record again, as far as this format keeps it."""

    @abstractmethod
    def rooted(self, piece: bytes, root: str) -> bytes:
        """The same record with its path relative to another root."""

    def current(self, piece: bytes) -> bytes:
        """The same record under the keys of this version: the piece itself if it has them."""
        return piece

    def seen(self, piece: bytes, view: View, run: str) -> bytes:
        """The same record with other labels shown, as far as this format keeps those that are not."""
        return piece


class JsonLines(Lines):
    """One JSON object a line, in ASCII, so that every name survives."""

    beginning = b'{"path": '

    def __init__(self, *, exact: bool = True) -> None:
        """``exact``: names keep bytes that are no text; else these are escapes, as in formats of text alone."""
        self._exact = exact

    def text(self, name: str) -> str:
        """The name itself, where it is kept exactly."""
        return name if self._exact else encodable(name)

    def encode(self, record: Record) -> bytes:
        """A line."""
        value = record if self._exact else text_only(record)
        return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"

    def parse(self, piece: bytes) -> Entry:
        """Read a line back; one without ``input`` and ``run`` is a record of an unknown run."""
        if not self.ended(piece):
            raise ValueError("not a whole record")
        try:
            record = json.loads(piece)
            source = record.get("input") or {}
            error = record["error"]
            others = record.get("other_labels")
            best = next(iter([*record["labels"], *(others or ())]), {"label": None, "probability": None})
            return Entry(
                str(record["path"]),
                _shared(source.get("root")),
                source.get("size"),
                source.get("mtime_ns"),
                _shared(record.get("run")),
                best["label"],
                best["probability"],
                error["kind"] if error else None,
                others is not None,
            )
        except (AttributeError, IndexError, KeyError, RecursionError, TypeError) as error:
            raise ValueError("not a record") from error

    def record(self, piece: bytes) -> Record:
        """All of it, under the keys of this version."""
        record: Record = json.loads(piece)
        return _renamed(record) if _OLD_KEY in piece else record

    def rooted(self, piece: bytes, root: str) -> bytes:
        """The line with another ``root``."""
        record = self.record(piece)
        source = record["input"] or {"size": None, "mtime_ns": None}
        return self.encode({**record, "input": {**source, "root": root}})

    def current(self, piece: bytes) -> bytes:
        """The line with today's keys."""
        return self.encode(self.record(piece)) if _OLD_KEY in piece else piece

    def seen(self, piece: bytes, view: View, run: str) -> bytes:
        """The line with the labels of another view."""
        return self.encode({**view.of(self.record(piece)), "run": run})


class Csv(Lines):
    """One row a video, its best label in columns of its own; in files also which file it was, the run, and the root.

    Moments stand in a last column: "3.04-9.12 push up=0.9113; 20.00-24.48 squat=0.8702".
    """

    columns = (*_CSV, *_SOURCE_COLUMNS, _MOMENTS)
    stream_header = ",".join((*_CSV, _MOMENTS)).encode() + b"\n"
    header = ",".join(columns).encode() + b"\n"
    header_of_0_1_0 = ",".join((*_CSV, *_SOURCE_COLUMNS[:-1])).encode() + b"\n"

    def encode(self, record: Record) -> bytes:
        """A row."""
        return _csv_line(self.row(record))

    def row(self, record: Record) -> list[Any]:
        """The fields of a row."""
        row = [field(record) for field in _CSV.values()]
        if source := record.get("input"):
            root = None if source["root"] is None else encodable(source["root"])
            row += [source["size"], source["mtime_ns"], record["run"], root]
        found = record.get("moments") or ()
        row.append("; ".join("{start_s:.2f}-{end_s:.2f} {label}={probability:.4f}".format(**part) for part in found))
        return row

    def streamed(self, record: Record, *, first: bool, terminal: bool) -> bytes:
        """A row of the columns that every row has."""
        row = self.row(record)
        return _csv_line(printable(field) if terminal and isinstance(field, str) else field for field in row)

    def ended(self, piece: bytes) -> bool:
        """Whether the row is whole: a name with a line end stands in quotes, so a row ends where these are even."""
        return piece.endswith(b"\n") and piece.count(b'"') % 2 == 0

    def parse(self, piece: bytes) -> Entry:
        """Read a row back."""
        row = self._row(piece)
        size, mtime_ns = (int(row[key]) if row[key] else None for key in ("size", "mtime_ns"))
        root, run, label, error = (row[key] or None for key in ("root", "run", "label", "error_kind"))
        probability = float(row["probability"]) if row["probability"] else None
        return Entry(row["path"], _shared(root), size, mtime_ns, _shared(run), label, probability, error)

    def record(self, piece: bytes) -> Record:
        """The best label alone, and neither attention nor notes: the others cannot be told apart for certain."""
        row = self._row(piece)
        best = float(row["probability"]) if row["label"] else None
        source = {key: int(row[key]) if row[key] else None for key in ("size", "mtime_ns")}
        return {
            "path": row["path"],
            "status": row["status"],
            "error": {"kind": row["error_kind"], "message": row["error_message"]} if row["error_kind"] else None,
            "labels": [] if best is None else [{"label": row["label"], "index": None, "probability": best}],
            "model": row["model"],
            "strategy": row["strategy"],
            "frames": {
                **{name: int(row[f"frames_{name}"]) for name in ("decoded", "used", "repaired")},
                "duration_s": float(row["duration_s"]) if row["duration_s"] else None,
                "start_s": 0.0,
            },
            "timing": {"decode_s": float(row["decode_s"]), "model_s": float(row["model_s"])},
            "attention": None,
            "uncertain": not row["error_kind"] and (best is None or best < 0.5),
            "notes": [],
            "label": row["label"] or None,
            "probability": best,
            "input": {"root": row["root"] or None, **source},
            "run": row["run"] or None,
        }

    def rooted(self, piece: bytes, root: str) -> bytes:
        """The row with another ``root``."""
        return _csv_line({**self._row(piece), "root": encodable(root)}.values())

    def bring_up_to_date(self, path: Path) -> None:
        """Give a file of vidcomp 0.1.0 the columns that it lacks."""
        if not path.is_file():
            return
        with path.open("rb") as file:
            if file.read(len(self.header_of_0_1_0)) == self.header_of_0_1_0:
                rows = (piece[:-1] + b",,\n" if self.ended(piece) else piece for piece in self.split(file))
                replace_file(path, [self.header], rows)

    def _row(self, piece: bytes) -> dict[str, str]:
        rows = list(csv.reader(io.StringIO(piece.decode(), newline=""))) if self.ended(piece) else []
        if len(rows) != 1 or len(rows[0]) != len(self.columns):
            raise ValueError("not a record")
        return dict(zip(self.columns, rows[0], strict=True))


class Document(ABC):
    """A format that is whole only at the end; meanwhile its records stand in a journal of JSON Lines."""

    journal: ClassVar[JsonLines]

    def check(self, path: Path) -> None:
        """Raise OutputError if this format cannot be written here."""
        return

    @abstractmethod
    def read(self, path: Path) -> Iterator[bytes]:
        """The records of a finished document, as the journal holds them; raises OutputError if it is none."""

    @abstractmethod
    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Make the document of the journal's records, all at once; raises OSError if that cannot be."""


class JsonArray(Document, Streamed):
    """One JSON array with an element a line."""

    journal = JsonLines()

    def read(self, path: Path) -> Iterator[bytes]:
        """Take the array apart, line by line."""
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                element = line.strip().removesuffix(b",")
                if element in (b"", b"[", b"]", b"[]"):
                    continue
                try:
                    self.journal.parse(element + b"\n")
                except ValueError:
                    raise OutputError(
                        f"--output {path}: line {number} was not written by vidcomp; choose another file, or "
                        "overwrite this one with --no-resume"
                    ) from None
                yield element + b"\n"

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Join the lines by commas."""
        replace_file(path, self._joined(pieces))

    def streamed(self, record: Record, *, first: bool, terminal: bool) -> bytes:
        """An element; the array is valid after :meth:`stream_end`, even if it is empty."""
        return self._element(self.journal.encode(record), first=first)

    def stream_end(self, *, empty: bool) -> bytes:
        """What ends the array."""
        return b"[]\n" if empty else b"\n]\n"

    def _element(self, piece: bytes, *, first: bool) -> bytes:
        return (b"[\n" if first else b",\n") + piece.rstrip(b"\n")

    def _joined(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        empty = True
        for piece in pieces:
            yield self._element(piece, first=empty)
            empty = False
        yield self.stream_end(empty=empty)


STREAMED: dict[str, Streamed] = {"jsonl": JsonLines(), "csv": Csv(), "json": JsonArray()}
"""The formats that need no file, by name."""


class Writer(ABC):
    """Writes predictions to a text stream as they come, so that nothing grows with the number of videos."""

    def __init__(self, stream: TextIO, top_k: int) -> None:
        self.stream = stream
        self.top_k = top_k

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Write one prediction and flush."""

    def close(self) -> None:
        """Finish the document; the stream stays open."""
        self.stream.flush()


class RecordWriter(Writer):
    """Writes records in one of the :data:`STREAMED` formats."""

    def __init__(self, form: str, stream: TextIO, top_k: int) -> None:
        super().__init__(stream, top_k)
        self._format, self._empty = STREAMED[form], True
        self._put(self._format.stream_header)

    def write(self, prediction: Prediction) -> None:
        """Append a record, whole."""
        self.write_record(prediction.to_dict(self.top_k))

    def write_record(self, record: Record) -> None:
        """Append a record that is made already."""
        self._put(self._format.streamed(record, first=self._empty, terminal=self.stream.isatty()))
        self._empty = False

    def close(self) -> None:
        """Write what stands after the last record."""
        self._put(self._format.stream_end(empty=self._empty))
        super().close()

    def _put(self, data: bytes) -> None:
        self.stream.write(data.decode())
        self.stream.flush()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def without_source(record: Record) -> Record:
    """The record as it stands outside the files that runs go on with."""
    return {key: value for key, value in record.items() if key not in ("input", "run", "other_labels")}


def _best(record: Record, template: str) -> str:
    return template.format(**record["labels"][0]) if record["labels"] else ""


def text_only(value: Any) -> Any:
    """A JSON value with what cannot be encoded shown as escapes, in all its texts."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [text_only(item) for item in value]
    return {key: text_only(item) for key, item in value.items()} if isinstance(value, dict) else value


def _csv_line(row: Iterable[Any]) -> bytes:
    """A line of CSV; a carriage return in a field, which csv leaves bare, is quoted as a line end is."""
    fields = list(row)
    bare = any("\r" in field for field in fields if isinstance(field, str))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


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
