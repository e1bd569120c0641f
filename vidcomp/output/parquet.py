"""Records as Parquet, by the optional package pyarrow."""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vidcomp.files import replacing
from vidcomp.output.formats import Document, JsonLines, text_only
from vidcomp.output.run import OutputError

_ROWS_AT_ONCE = 1000
# Columns that every version of vidcomp has written.
_BASIC = {"path", "status", "error", "labels", "model", "strategy", "frames", "input", "run"}


class Parquet(Document):
    """A Parquet table with a row per video, nested as the JSON is."""

    journal = JsonLines(exact=False)

    def check(self, path: Path) -> None:
        """Raise OutputError without pyarrow."""
        if importlib.util.find_spec("pyarrow") is None:
            raise OutputError(f"--output {path}: Parquet needs pyarrow; pip install 'vidcomp[parquet]', or use .jsonl")

    def read(self, path: Path) -> Iterator[bytes]:
        """The rows as lines of JSON."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                names = {"windows" if name == "segments" else name for name in file.schema_arrow.names}
                if not _BASIC <= names <= set(record_schema().names):
                    raise OutputError(f"--output {path}: its columns are not those of vidcomp; choose another file")
                for batch in file.iter_batches(_ROWS_AT_ONCE):
                    yield from map(self.journal.encode, batch.to_pylist())
        except pa.ArrowInvalid as error:
            raise OutputError(f"--output {path}: not a Parquet file ({error}); choose another file") from None

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write the rows, a thousand in memory at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, rest = record_schema(), iter(pieces)
        with replacing(path) as new, pq.ParquetWriter(new, schema) as file:
            while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
                file.write_table(pa.Table.from_pylist([text_only(json.loads(piece)) for piece in some], schema=schema))


def record_schema() -> Any:
    """The Arrow schema of records in files."""
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    frames = {"decoded": whole, "used": whole, "repaired": whole, "duration_s": number, "start_s": number}
    label = {"label": text, "index": whole, "probability": number}
    labels = pa.list_(pa.struct(label))
    return pa.schema(
        {
            "path": text,
            "status": text,
            "error": pa.struct({"kind": text, "message": text}),
            "labels": labels,
            "label": text,
            "probability": number,
            "other_labels": labels,
            "model": text,
            "strategy": text,
            "frames": pa.struct(frames),
            "timing": pa.struct({"decode_s": number, "model_s": number, "decoder_s": number, "bottleneck": text}),
            "attention": pa.struct(
                {
                    "compressor": text,
                    "times_s": pa.list_(number),
                    "importance": pa.list_(number),
                    "attended": pa.list_(
                        pa.struct({"start_s": number, "end_s": number, "mass": number, "peak_s": number})
                    ),
                    "effective_frames": number,
                    "concentration": number,
                    "negligible_frames": whole,
                    "active_bins": whole,
                    "bins": pa.list_(pa.list_(whole)),
                }
            ),
            "uncertain": pa.bool_(),
            "notes": pa.list_(text),
            "windows": pa.list_(pa.struct({"start_s": number, "end_s": number, "labels": labels})),
            "moments": pa.list_(pa.struct({"start_s": number, "end_s": number, **label})),
            "input": pa.struct({"root": text, "size": whole, "mtime_ns": whole}),
            "run": text,
        }
    )
