"""The file of a batch's labels: it survives whatever ends the program, and remembers what need not be done again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from vidcomp.inference.batch import Job, Known, Stamp
from vidcomp.inference.prediction import Prediction
from vidcomp.output.codecs import Record
from vidcomp.output.documents import APPENDED, DOCUMENTS, Document
from vidcomp.output.errors import OutputError, kept_so_far
from vidcomp.output.lock import Lock
from vidcomp.output.log import RecordLog, replace_file
from vidcomp.output.record import record_of

FORMATS = (*APPENDED, *DOCUMENTS)


def run_of(settings: Mapping[str, Any]) -> str:
    """A short name for the settings that labels depend on: plain JSON values, among them the model's fingerprint."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class LabelsFile:
    """Results of many runs in one file: JSON Lines and CSV grow record by record, JSON and Parquet are made at the end.

    Until then the records of those two stand in `NAME.journal.jsonl` beside the file. Each record holds, beyond the
    contract's keys, `input` (`size`, `mtime_ns`; null for a missing file) and `run`: with all three the same, a video
    is not done again. A newer record of a video supersedes the older, which goes when the run ends.

    Use it as a context manager: leaving it finishes the document, also for an interrupt.
    """

    def __init__(
        self, path: Path, form: str, *, run: str, top_k: int, resume: bool = True, retry_errors: bool = False
    ) -> None:
        """Take the file for this process alone.

        Args:
            path: where the labels go; a link is followed.
            form: one of `FORMATS`.
            run: names model and settings, see `run_of`.
            top_k: labels to write of each video.
            resume: keep the records that are there; else begin anew.
            retry_errors: do videos again that failed.

        Raises:
            OutputError: it cannot be written, another process writes it, or it holds something else.
        """
        self.path = Path(os.path.realpath(path))
        self._run, self._top_k, self._retry_errors = run, top_k, retry_errors
        self._document: Document | None = DOCUMENTS.get(form)
        if self.path.is_dir():
            raise OutputError(f"--output {path}: this is a folder; name a file in it")
        if self._document is not None:
            self._document.check(path)
        self._lock = Lock(self.path)
        try:
            self._log = self._open(form, resume)
        except BaseException:
            self._lock.close()
            raise

    def known(self, job: Job, stamp: Stamp | None) -> Known | None:
        """What the file says of this video, if that was said of the same file by the same model and settings."""
        entry = self._log.entries.get(self._log.codec.key(job.name))
        if entry is None or entry.run != self._run or (entry.error and self._retry_errors):
            return None
        same = (stamp.size, stamp.mtime_ns) if stamp else (None, None)
        return Known(entry.label, entry.error) if (entry.size, entry.mtime_ns) == same else None

    def records(self) -> Iterator[Record]:
        """The latest record of every video in the file, as far as the format keeps it."""
        return (self._log.codec.record(piece) for piece in self._log.pieces())

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        """Append a record, whole.

        Raises:
            OutputError: there is no room; the records before stay.
        """
        source = {"size": stamp.size, "mtime_ns": stamp.mtime_ns} if stamp else None
        self._log.append({**record_of(prediction, self._top_k), "input": source, "run": self._run})

    def __enter__(self) -> LabelsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # Where writing has failed, more writing would hide the reason.
            if not isinstance(error, OutputError):
                self._finish()
        finally:
            self._log.close()
            self._lock.close()

    def _open(self, form: str, resume: bool) -> RecordLog:
        log_path = self.path if self._document is None else self._journal
        codec = APPENDED[form] if self._document is None else self._document.log
        with kept_so_far(self.path):
            if not resume:
                log_path.unlink(missing_ok=True)
            elif self._document is not None and not log_path.exists() and self.path.exists():
                replace_file(log_path, self._document.read(self.path))
        return RecordLog(log_path, codec)

    def _finish(self) -> None:
        if self._document is None:
            self._log.tidy()
            return
        with kept_so_far(self.path):
            self._document.write(self.path, self._log.pieces())
        with contextlib.suppress(OSError):
            self._journal.unlink()

    @property
    def _journal(self) -> Path:
        return self.path.with_name(f"{self.path.name}.journal.jsonl")
