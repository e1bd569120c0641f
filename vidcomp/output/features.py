"""Tables of features: a row per video or window, as Parquet or NumPy, in which the most similar ones are found."""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidcomp.files import replacing
from vidcomp.inference.prediction import Prediction
from vidcomp.output.formats import Document, JsonLines, text_only
from vidcomp.output.labels_file import LabelsFile
from vidcomp.output.run import OutputError, Record, Run, identity

_ROWS_AT_ONCE = 1000
_VECTOR = "features"
_COLUMNS = ("path", "start_s", "end_s", "label", "probability", "error")


class FeaturesFile(LabelsFile):
    """A :class:`LabelsFile` whose records have features too, for predictions that do."""

    def __init__(self, path: Path, *, run: Run, any_precision: bool, resume: bool, retry_errors: bool) -> None:
        """As :class:`LabelsFile`; the extension says which table it is."""
        super().__init__(
            path,
            document_of(path),
            run=run,
            any_precision=any_precision,
            resume=resume,
            retry_errors=retry_errors,
        )

    def record_of(self, prediction: Prediction) -> Record:
        """The record with the video's features, and those of its windows."""
        record = prediction.to_dict(1)
        if prediction.windows:
            for window, part in zip(record["windows"], prediction.windows, strict=True):
                window[_VECTOR] = _text(part.embedding)
        else:
            record[_VECTOR] = _text(prediction.embedding)
        return record


class _Table(Document):
    """Rows with a vector each; the first row of each video has its record, so that a run can go on with the file."""

    journal = JsonLines(exact=False)

    def read(self, path: Path) -> Iterator[bytes]:
        """The records, each with its vectors."""
        rows = self.checked(path)
        for row, record in rows:
            assert record is not None
            parts = record.get("windows") or [record]
            vectors = [row.vector, *(next(rows)[0].vector for _ in parts[1:])]
            for part, vector in zip(parts, vectors, strict=True):
                part[_VECTOR] = _text(vector)
            yield self.journal.encode(record)

    def checked(self, path: Path) -> Iterator[tuple[Row, Record | None]]:
        """The rows of a finished table, the first of each video with its record.

        Raises:
            OutputError: it is no such table, or damaged.
        """
        left, width = 0, None
        try:
            for row in self.rows(path):
                record = None
                if not left:
                    record = json.loads(row.record or "")
                    left = len(record.get("windows") or [record])
                    if not all(isinstance(record[name], str) for name in ("path", "model", "strategy", "run")):
                        raise _foreign(path)
                left -= 1
                if not isinstance(row.path, str):
                    raise _foreign(path)
                if row.vector is not None:
                    width = width or row.vector.shape
                    if row.vector.ndim != 1 or row.vector.shape != width or not np.isfinite(row.vector).all():
                        raise _foreign(path)
                yield row, record
        except (OutputError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            # Readers of files that others made, or that are damaged, raise whatever comes.
            raise _foreign(path) from None
        if left:
            raise _foreign(path)

    @abstractmethod
    def rows(self, path: Path) -> Iterator[Row]:
        """The rows of a finished table; raises anything if it is none."""


class Row(NamedTuple):
    """A video, or a window of it from and to in seconds, with its vector (C,); ``None`` if it could not be read.

    ``record`` is that of the video, as JSON, in its first row.
    """

    path: str
    start_s: float | None
    end_s: float | None
    label: str | None
    probability: float | None
    error: str | None
    vector: NDArray[np.float32] | None
    record: str | None


class FeatureParquet(_Table):
    """A Parquet table with a column ``features`` of lists."""

    def check(self, path: Path) -> None:
        """Raise OutputError without pyarrow."""
        if importlib.util.find_spec("pyarrow") is None:
            raise OutputError(f"--output {path}: Parquet needs pyarrow; pip install 'vidcomp[parquet]', or use .npz")

    def rows(self, path: Path) -> Iterator[Row]:
        """A thousand in memory at a time."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    vector, record = row.pop(_VECTOR), row.pop("record")
                    yield Row(**row, vector=None if vector is None else np.float32(vector), record=record)

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """A thousand rows in memory at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, number = pa.string(), pa.float64()
        kinds = {"path": text, "start_s": number, "end_s": number, "label": text, "probability": number, "error": text}
        schema = pa.schema({**kinds, _VECTOR: pa.list_(pa.float32()), "record": text})
        rest = _rows(pieces)
        with replacing(path) as new, pq.ParquetWriter(new, schema) as file:
            while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
                columns = dict(zip(Row._fields, map(list, zip(*some, strict=True)), strict=True))
                columns[_VECTOR] = columns.pop("vector")
                file.write_table(pa.table({name: columns[name] for name in schema.names}, schema=schema))


class FeatureNpz(_Table):
    """NumPy arrays ``features`` (N, C), NaN where a video could not be read, and one for each other column."""

    def rows(self, path: Path) -> Iterator[Row]:
        """All of them."""
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in (*_COLUMNS, _VECTOR, "records")}
        records = iter(columns.pop("records").tobytes().decode().splitlines())
        vectors = columns.pop(_VECTOR)
        left = 0
        for *held, vector in zip(*(columns[name] for name in _COLUMNS), vectors, strict=True):
            values = dict(zip(_COLUMNS, map(_value, held), strict=True))
            record = None
            if not left:
                record = next(records, None)
                left = len(json.loads(record).get("windows") or [0]) if record is not None else 1
            left -= 1
            yield Row(**values, vector=None if np.isnan(vector).all() else vector, record=record)

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """All rows in memory at once."""
        rows = list(_rows(pieces))
        width = max((len(row.vector) for row in rows if row.vector is not None), default=0)
        vectors = np.full((len(rows), width), np.nan, np.float32)
        for number, row in enumerate(rows):
            if row.vector is not None:
                vectors[number] = row.vector
        columns = {name: np.array([_plain(getattr(row, name), name) for row in rows]) for name in _COLUMNS}
        records = "\n".join(row.record for row in rows if row.record is not None)
        file = io.BytesIO()
        np.savez_compressed(
            file, **columns, features=vectors, records=np.frombuffer(records.encode(), np.uint8), allow_pickle=False
        )
        with replacing(path) as new:
            new.write_bytes(file.getvalue())


def document_of(path: Path) -> _Table:
    """The kind of table that a file's extension names.

    Raises:
        OutputError: it names none.
    """
    kinds: dict[str, type[_Table]] = {".parquet": FeatureParquet, ".npz": FeatureNpz}
    if (kind := kinds.get(path.suffix.lower())) is None:
        raise OutputError(f"{path}: a table of features ends in .parquet or .npz; choose one of these")
    return kind()


@dataclass(frozen=True)
class FeatureTable:
    """Rows that have vectors, which are (N, C); ``model`` and ``run`` say what made them, ``files`` whence each is.

    ``files`` are absolute paths with size and time of change, as far as they are known.
    """

    rows: tuple[Row, ...]
    vectors: NDArray[np.float32]
    model: str
    strategy: str
    run: str
    files: tuple[tuple[str, int | None, int | None], ...]

    def is_by(self, fingerprint: str) -> bool:
        """Whether a model of this fingerprint made the table."""
        return f"@{fingerprint[:16]} " in self.run

    def similarities(self, vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosine similarity (N,) of each row to a vector (C,); 0 where one of them is all zeros."""
        wanted, rows = np.asarray(vector, float), self.vectors.astype(float)
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted)
        cosines: NDArray[np.float64] = np.divide(rows @ wanted, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        return cosines


def read_table(path: Path) -> FeatureTable:
    """Read what `vidcomp embed` wrote.

    Raises:
        OutputError: it is missing, is no such table, or has no row with a vector.
    """
    if not path.is_file():
        raise OutputError(f"{path}: there is no such table of features; make it with vidcomp embed")
    rows, files = [], []
    known: Record = {}
    for row, record in document_of(path).checked(path):
        known = record or known
        if row.vector is not None:
            source = known.get("input") or {}
            rows.append(row)
            files.append((identity(source.get("root"), known["path"]), source.get("size"), source.get("mtime_ns")))
    if not rows:
        raise OutputError(f"{path}: none of its rows has features; make it again with vidcomp embed")
    vectors = np.stack([row.vector for row in rows if row.vector is not None])
    return FeatureTable(tuple(rows), vectors, known["model"], known["strategy"], known["run"], tuple(files))


def _rows(pieces: Iterable[bytes]) -> Iterator[Row]:
    for piece in pieces:
        record = text_only(json.loads(piece))
        windows = record.get("windows")
        parts = windows or [record]
        vectors = [_vector(part.pop(_VECTOR, None)) for part in parts]
        error = record["error"]["message"] if record["error"] else None
        kept = json.dumps(record)
        for number, (part, vector) in enumerate(zip(parts, vectors, strict=True)):
            best = part["labels"][0] if part["labels"] else {}
            start_s, end_s = (part["start_s"], part["end_s"]) if windows else (None, None)
            yield Row(
                record["path"],
                start_s,
                end_s,
                best.get("label"),
                best.get("probability"),
                error,
                vector,
                None if number else kept,
            )


def _text(vector: NDArray[np.float32] | None) -> str | None:
    return None if vector is None else base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _vector(text: str | None) -> NDArray[np.float32] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


def _plain(value: Any, name: str) -> Any:
    """A value as an array of its column holds it."""
    if value is None:
        return np.nan if name in ("start_s", "end_s", "probability") else ""
    return value


def _value(held: Any) -> Any:
    if isinstance(held, str):
        return str(held) or None
    return None if np.isnan(held) else float(held)


def _foreign(path: Path) -> OutputError:
    return OutputError(f"{path}: not a table of features that vidcomp wrote; choose another file")
