"""Formats that are whole only at the end: how they are made from a log of records, and read back into one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from vidcomp.output import parquet
from vidcomp.output.codecs import Codec, Csv, JsonLines, Record
from vidcomp.output.errors import OutputError
from vidcomp.output.log import put_in_place, replace_file, unfinished
from vidcomp.output.writers import encodable


class Document(Protocol):
    """A format that cannot be appended to."""

    @property
    def log(self) -> JsonLines:
        """How the records are written meanwhile."""
        ...

    def check(self, path: Path) -> None:
        """Raise OutputError if this format cannot be written here."""
        ...

    def read(self, path: Path) -> Iterator[bytes]:
        """The records of a finished document, as the log holds them; raises OutputError if it is none."""
        ...

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Make the document of the log's records, all at once; raises OSError if that cannot be."""
        ...


class JsonArray:
    """One JSON array with an element a line."""

    log = JsonLines()

    def check(self, path: Path) -> None:
        """Always possible."""

    def read(self, path: Path) -> Iterator[bytes]:
        """Take the array apart, line by line."""
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                element = line.strip().removesuffix(b",")
                if element in (b"", b"[", b"]", b"[]"):
                    continue
                try:
                    self.log.parse(element + b"\n")
                except ValueError:
                    raise OutputError(
                        f"--output {path}: line {number} is none that vidcomp wrote; choose another file, "
                        "or write over this one with --no-resume"
                    ) from None
                yield element + b"\n"

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Join the lines by commas."""
        replace_file(path, self._lines(pieces))

    def _lines(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        separator = b"[\n"
        for piece in pieces:
            yield separator + piece.rstrip(b"\n")
            separator = b",\n"
        yield b"[]\n" if separator == b"[\n" else b"\n]\n"


class _PrintableJsonLines(JsonLines):
    def text(self, name: str) -> str:
        """The name as Parquet can hold it."""
        return encodable(name)

    def encode(self, record: Record) -> bytes:
        """A line whose record is found again under the names that Parquet holds."""
        source = record["input"]
        if source and source.get("root"):
            source = {**source, "root": encodable(source["root"])}
        return super().encode({**record, "path": encodable(record["path"]), "input": source})


class Parquet:
    """A Parquet table with a row a video, nested as the JSON is."""

    log = _PrintableJsonLines()

    def check(self, path: Path) -> None:
        """Raise OutputError without pyarrow."""
        parquet.require(path)

    def read(self, path: Path) -> Iterator[bytes]:
        """The rows as lines of JSON."""
        return (self.log.encode(record) for record in parquet.read(path))

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write beside the file, then take its place."""
        new = unfinished(path)
        try:
            parquet.write(new, map(json.loads, pieces))
            put_in_place(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


APPENDED: dict[str, Codec] = {"jsonl": JsonLines(), "csv": Csv()}
"""Formats that grow by a record a video, by name."""

DOCUMENTS: dict[str, Document] = {"json": JsonArray(), "parquet": Parquet()}
"""Formats that are made at the end, by name."""
