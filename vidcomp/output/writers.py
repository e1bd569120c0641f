"""Writers that take one prediction after another, so that nothing grows with the number of videos."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, TextIO

from vidcomp.inference.prediction import Prediction
from vidcomp.video.errors import printable

CSV_COLUMNS = (
    "path",
    "status",
    "label",
    "probability",
    "top_k",
    "model",
    "strategy",
    "frames_decoded",
    "frames_used",
    "frames_repaired",
    "duration_s",
    "decode_s",
    "model_s",
    "error_kind",
    "error_message",
)


class Writer(ABC):
    """Writes predictions to a text stream as they come; :meth:`close` writes what belongs at the end."""

    def __init__(self, stream: TextIO, top_k: int) -> None:
        self.stream = stream
        self.top_k = top_k

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Write one prediction and flush."""

    def close(self) -> None:
        """Finish the document; the stream stays open."""
        self.stream.flush()


class JsonWriter(Writer):
    """One JSON array, an element a video; valid after :meth:`close` even if nothing was written."""

    def __init__(self, stream: TextIO, top_k: int) -> None:
        super().__init__(stream, top_k)
        self._separator = "["

    def write(self, prediction: Prediction) -> None:
        """Append an element."""
        self.stream.write(f"{self._separator}\n{_dump(prediction, self.top_k)}")
        self.stream.flush()
        self._separator = ","

    def close(self) -> None:
        """Close the array."""
        self.stream.write("[]\n" if self._separator == "[" else "\n]\n")
        super().close()


class JsonLinesWriter(Writer):
    """One JSON object a line."""

    def write(self, prediction: Prediction) -> None:
        """Append a line, whole."""
        self.stream.write(_dump(prediction, self.top_k) + "\n")
        self.stream.flush()


class CsvWriter(Writer):
    """One row a video: the best label in columns of its own, the rest of the top k as ``label=probability``."""

    def __init__(self, stream: TextIO, top_k: int) -> None:
        super().__init__(stream, top_k)
        stream.write(csv_line(CSV_COLUMNS))

    def write(self, prediction: Prediction) -> None:
        """Append a row; on a terminal, what would act on it is shown as escapes."""
        row = csv_row(prediction.to_dict(self.top_k))
        if self.stream.isatty():
            row = [printable(field) if isinstance(field, str) else field for field in row]
        self.stream.write(csv_line(row))
        self.stream.flush()


WRITERS: dict[str, type[Writer]] = {"json": JsonWriter, "jsonl": JsonLinesWriter, "csv": CsvWriter}


def csv_row(record: dict[str, Any]) -> list[Any]:
    """The values of :data:`CSV_COLUMNS` for one record; CSV has no place for attention, notes and windows."""
    labels, error, frames, timing = record["labels"], record["error"], record["frames"], record["timing"]
    return [
        encodable(record["path"]),
        record["status"],
        labels[0]["label"] if labels else "",
        f"{labels[0]['probability']:.6f}" if labels else "",
        " ".join(f"{label['label']}={label['probability']:.4f}" for label in labels),
        record["model"],
        record["strategy"],
        frames["decoded"],
        frames["used"],
        frames["repaired"],
        frames["duration_s"],
        f"{timing['decode_s']:.4f}",
        f"{timing['model_s']:.4f}",
        error["kind"] if error else "",
        encodable(error["message"]) if error else "",
    ]


def csv_line(row: Iterable[Any]) -> str:
    """A line of CSV; a carriage return in a field, which csv leaves bare, is quoted as a line end is."""
    fields = list(row)
    bare = any("\r" in field for field in fields if isinstance(field, str))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL, lineterminator="\n").writerow(fields)
    return text.getvalue()


def encodable(text: str) -> str:
    """Text with what cannot be encoded (bytes of odd file names) shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _dump(prediction: Prediction, top_k: int) -> str:
    """One line of JSON; ASCII, so that names which are not valid UTF-8 survive as escapes."""
    return json.dumps(prediction.to_dict(top_k), allow_nan=False)
