"""A folder of results, here or in an object store: every part of it is whole, and every video in one of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import secrets
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidcomp.inference.batch import Job, Known
from vidcomp.output.formats import text_only
from vidcomp.output.journal import Finished, Lock
from vidcomp.output.parquet import record_schema
from vidcomp.output.run import OutputError, Record, Run, identity
from vidcomp.scale.stores import StoreError, filesystem, is_store, reason_of

FORMATS = ("parquet", "jsonl")
"""How parts may be written."""


CLAIMED = Known(None, None)
"""Stands for a video whose record will come."""

_ROWS_PER_PART = 10_000
_SECONDS_PER_PART = 60.0
_ROWS_AT_ONCE = 1000
_SETTINGS = "_vidcomp.json"
_INSTEAD = "choose another --output, or --no-resume to start over"


class Parts(Finished):
    """Results as `part-*.parquet` or `part-*.jsonl` in a folder, which appear whole and never change.

    Use it as a context manager: leaving it publishes what was gathered. A video is known by its name alone, absolute
    path or address: of one that is known nothing is looked at.
    """

    def __init__(
        self,
        place: str,
        form: str,
        *,
        columns: Mapping[str, Any] | None = None,
        share: str = "",
        resume: bool = True,
        retry_errors: bool = False,
        any_precision: bool = False,
        rows: int = _ROWS_PER_PART,
        seconds: float = _SECONDS_PER_PART,
    ) -> None:
        """Find out what earlier runs have done.

        Args:
            place: a folder, made if it is not there, or the address of one.
            form: one of `FORMATS`.
            columns: columns of the manifest and their Arrow types.
            share: which share of the videos this is; several programs write one folder only if each has its own.
            resume: keep what is there; else remove the parts of this share, or of all where there are no shares.
            retry_errors: forget the records of errors.
            any_precision: continue with records that were computed in another precision.
            rows, seconds: a part is published when it has so many records, or is so old.

        Raises:
            OutputError: it cannot be read or written, another program writes it, or it has parts of another form or
                with other columns.
        """
        self.place, self._form, self._share = place, form, share.replace("/", "of")
        self._columns, self._any_precision = dict(columns or {}), any_precision
        self._rows, self._seconds = rows, seconds
        self._token, self._published = secrets.token_hex(4), 0
        self._known: dict[bytes, Known] = {}
        self._part: _Part | None = None
        self._lock: Lock | None = None
        with self._kept():
            self._system, self._root = filesystem(place)
            if self._local:
                Path(self._root).mkdir(parents=True, exist_ok=True)
                self._lock = Lock(Path(self._root) / f"part-{self._share or 'all'}")
                for left in Path(self._root).glob(self._new("*").name):
                    left.unlink()
        try:
            with self._kept():
                self._settings = self._begin(resume)
                for name in self._names():
                    self._read(name, retry_errors)
        except BaseException:
            self.close()
            raise

    def finish(self) -> None:
        """Publish what was gathered."""
        self.publish()

    def close(self) -> None:
        """Throw away what was gathered and not published, and let others write."""
        if self._part is not None:
            self._part.discard()
        if self._lock is not None:
            self._lock.close()

    def check(self, name: str) -> None:
        """Make sure that the run of this name may go on with what is here; the first one is noted.

        Raises:
            OutputError: records here were made by another model or with other settings.
        """
        with self._kept():
            before = self._there().get("run")  # another share may have begun meanwhile
            if before is None:
                settings = json.dumps({**self._settings, "run": name}, indent=2)
                self._system.pipe_file(self._path(_SETTINGS), settings.encode())
                return
        run = _run_of(name)
        other = _run_of(before)
        if self._any_precision:
            run = replace(run, precision=other.precision)
        if differences := run.differences(other):
            raise OutputError(
                f"--output {self.place}: labels in it were made with {', '.join(differences)}; {_INSTEAD}"
            )

    def claim(self, job: Job) -> Known | None:
        """What was said of this video before; None if it is to be labeled, and :data:`CLAIMED` if it was asked for."""
        key = _key(job.root, job.name)
        before = self._known.get(key)
        self._known[key] = CLAIMED
        return before

    def write(self, record: Record) -> None:
        """Add a record, with the columns of its manifest; it is kept once its part is published.

        Raises:
            OutputError: there is no room; the parts before stay.
        """
        with self._kept():
            if self._part is None:
                form = _JsonPart if self._form == "jsonl" else _ParquetPart
                self._part = form(self._new(self._token), self._columns)
            self._part.add(record)
        if self._part.count >= self._rows:
            self.publish()
        else:
            self.publish_if_due()

    def publish_if_due(self) -> None:
        """Publish the part that is gathered if it is old enough."""
        if self._part is not None and self._part.age_s >= self._seconds:
            self.publish()

    def publish(self) -> None:
        """Put the part that is gathered where others read it.

        Raises:
            OutputError: it cannot be put there.
        """
        if self._part is None:
            return
        with self._kept():
            share = f"{self._share}-" if self._share else ""
            name = f"part-{share}{self._token}-{self._published:05}.{self._form}"
            self._part.close()
            self._put(self._part.path, name)
        self._part = None
        self._published += 1

    def _put(self, file: Path, name: str) -> None:
        """Move a finished file into the folder: it is there whole, or not at all."""
        if self._local:
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.replace(self._path(name))
        else:
            self._system.put_file(str(file), self._path(name))
            file.unlink()

    def _begin(self, resume: bool) -> dict[str, Any]:
        """What the folder is to be like, which is noted with the first run; without `resume`, what is there goes."""
        if not resume:
            mine = f"part-{self._share}-" if self._share else "part-"
            for name in self._names():
                if name.startswith(mine):
                    self._system.rm_file(self._path(name))
        names, there = self._names(), self._there()
        if there and not resume and not names:
            self._system.rm_file(self._path(_SETTINGS))
            there = {}
        settings = {"form": self._form, "columns": {name: str(kind) for name, kind in self._columns.items()}}
        if there and {**there, **settings} != there:
            raise OutputError(f"--output {self.place}: its parts have another format or other columns; {_INSTEAD}")
        if names and not there:
            raise OutputError(f"--output {self.place}: it holds parts, and {_SETTINGS} is missing; {_INSTEAD}")
        return settings

    def _there(self) -> dict[str, Any]:
        """The settings that are noted in the folder."""
        try:
            found: dict[str, Any] = json.loads(self._system.cat_file(self._path(_SETTINGS)))
        except FileNotFoundError:
            return {}
        return found

    def _names(self) -> list[str]:
        """The parts that are there."""
        self._system.invalidate_cache()
        with contextlib.suppress(FileNotFoundError):
            found = (posixpath.basename(path.rstrip("/")) for path in self._system.ls(self._root, detail=False))
            return sorted(name for name in found if name.startswith("part-") and name.endswith(FORMATS))
        return []

    def _read(self, name: str, retry_errors: bool) -> None:
        """Take note of the records of a part; of errors, if they are to be tried again, it is rid first."""
        path, shared = self._path(name), dict[Known, Known]()
        rows = _read_parquet if self._form == "parquet" else _read_json
        errors = False
        for root, video, known in rows(self._system, path):
            if known.error is not None and retry_errors:
                errors = True
                continue
            self._known[_key(root, video)] = shared.setdefault(known, known)
        if errors:
            self._without_errors(name)

    def _without_errors(self, name: str) -> None:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        new = self._new(self._token)
        with self._system.open(self._path(name), "rb") as file:
            if self._form == "parquet":
                table = pq.read_table(file)
                table = table.filter(pc.equal(table["status"], "ok"))
                left = table.num_rows
                pq.write_table(table, new)
            else:
                lines = [line for line in file if json.loads(line)["error"] is None]
                left = len(lines)
                new.write_bytes(b"".join(lines))
        if left:
            self._put(new, name)
        else:
            new.unlink()
            self._system.rm_file(self._path(name))

    @property
    def _local(self) -> bool:
        return not is_store(self.place)

    def _new(self, token: str) -> Path:
        """Where a part is made; in a folder, on the disk that it will be on."""
        return Path(self._root if self._local else tempfile.gettempdir()) / f".part-{self._share or 'all'}-{token}.new"

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (OutputError, MemoryError):
            raise
        except StoreError as error:
            raise OutputError(f"--output {error}") from None
        except Exception as error:  # each store's library has its own
            why = getattr(error, "strerror", None) or reason_of(error)
            raise OutputError(
                f"--output {self.place}: cannot be used ({why}); what was published before is kept: fix that, and run "
                "the same command again to continue"
            ) from error


class _Part(ABC):
    """A file in the making, which nobody reads."""

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        self.path, self._columns = path, columns
        self.count = 0
        self._begun = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun

    @abstractmethod
    def add(self, record: Record) -> None:
        """Add a row."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left to write."""

    def discard(self) -> None:
        """Throw it away."""
        with contextlib.suppress(Exception):
            self.close()
        self.path.unlink(missing_ok=True)

    def _row(self, record: Record) -> Record:
        """The record with all columns, names that are no text shown as escapes."""
        return {**dict.fromkeys(self._columns), **text_only(record)}


class _JsonPart(_Part):
    """One JSON object a line; what JSON has no form for, as times, is text."""

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        super().__init__(path, columns)
        self._file = path.open("wb")

    def add(self, record: Record) -> None:
        self._file.write(json.dumps(self._row(record), default=str).encode("ascii") + b"\n")
        self.count += 1

    def close(self) -> None:
        self._file.close()


class _ParquetPart(_Part):
    """A table; a thousand rows in memory at a time."""

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(path, columns)
        self._schema = pa.schema([*record_schema(), *columns.items()])
        self._waiting: list[Record] = []
        self._file = pq.ParquetWriter(path, self._schema)

    def add(self, record: Record) -> None:
        self._waiting.append(self._row(record))
        self.count += 1
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self._drain()

    def close(self) -> None:
        self._drain()
        self._file.close()

    def _drain(self) -> None:
        import pyarrow as pa

        self._file.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []


def _read_parquet(system: Any, path: str) -> Iterator[tuple[str | None, str, Known]]:
    import pyarrow.parquet as pq

    with system.open(path, "rb") as file:
        columns = ["path", "label", "error.kind", "input.root"]
        for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=columns):
            yield from map(_noted, batch.to_pylist())


def _read_json(system: Any, path: str) -> Iterator[tuple[str | None, str, Known]]:
    with system.open(path, "rb") as file:
        yield from map(_noted, map(json.loads, file))


def _noted(record: Record) -> tuple[str | None, str, Known]:
    error = record["error"]
    return record["input"]["root"], record["path"], Known(record["label"], error["kind"] if error else None)


def _key(root: str | None, path: str) -> bytes:
    """Sixteen bytes for a video: names may be long, and there may be millions."""
    return hashlib.blake2b(os.fsencode(text_only(identity(root, path))), digest_size=16).digest()


def _run_of(name: str) -> Run:
    run = Run("", "", "", "", 1).read(name)
    assert run is not None, name
    return run
