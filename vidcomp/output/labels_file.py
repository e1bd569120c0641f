"""The file of a batch's labels: it survives whatever ends the program, and remembers what need not be done again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from vidcomp.files import replace_file
from vidcomp.inference.batch import Job, Known, Sink, Stamp
from vidcomp.inference.in_progress import InProgress
from vidcomp.inference.prediction import Prediction
from vidcomp.output.formats import Csv, Document, Entry, JsonArray, JsonLines, Lines
from vidcomp.output.journal import Finished, Lock, RecordLog
from vidcomp.output.parquet import Parquet
from vidcomp.output.run import OutputError, Record, Run, identity, kept_so_far, unwritable

_LINES: dict[str, Lines] = {"jsonl": JsonLines(), "csv": Csv()}
_DOCUMENTS: dict[str, Document] = {"json": JsonArray(), "parquet": Parquet()}

FORMATS = (*_LINES, *_DOCUMENTS)
STORED_LABELS = 20
"""Labels that a file keeps of each video, at least, whichever are shown."""


def read_records(path: Path) -> Iterator[Record]:
    """The records of a labels file, in whatever format, which stays as it is; of each video the latest.

    Of CSV they have its columns alone. Records of a run that has not ended stand in the journal of JSON and Parquet.

    Raises:
        OutputError: it is not to be read, or holds something else than records.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise OutputError(f"{path}: not a file of labels; name one that ends in .jsonl, .json, .csv or .parquet")
    codec = _LINES.get(form) or _DOCUMENTS[form].journal
    try:
        with path.open("rb") as file:
            if form in _LINES:
                header = file.read(len(codec.header))
                if header and header != codec.header:
                    raise OutputError(
                        f"{path}: its first line was not written by vidcomp; name a file that classify wrote"
                    )
                pieces = list(codec.split(file))
            else:
                _DOCUMENTS[form].check(path)
                pieces = list(_DOCUMENTS[form].read(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); name a file that classify wrote") from None
    last: dict[str, bytes] = {}
    for number, piece in enumerate(pieces, start=1):
        try:
            key = codec.parse(piece).key
        except ValueError:
            if number == len(pieces) and not codec.ended(piece):
                break  # still being written
            raise OutputError(
                f"{path}: record {number} was not written by vidcomp; name a file that classify wrote"
            ) from None
        last.pop(key, None)
        last[key] = codec.current(piece)
    return map(codec.record, last.values())


def write_records(path: Path, form: str, records: Iterable[Record]) -> None:
    """Write records anew, in one of `FORMATS`, as a file that classify can continue.

    Raises:
        OutputError: it cannot be written; what was there stays.
    """
    document = _DOCUMENTS.get(form)
    codec = _LINES[form] if document is None else document.journal
    pieces = map(codec.encode, records)
    try:
        if document is None:
            replace_file(path, [codec.header], pieces)
        else:
            document.check(path)
            document.write(path, pieces)
    except OSError as error:
        raise unwritable(path, error) from None


class LabelsFile(Finished, Sink):
    """Results of many runs in one file: JSON Lines and CSV grow record by record, JSON and Parquet are made at the end.

    Until then the records of those two stand in `NAME.journal.jsonl` beside the file. Each record holds, beyond the
    contract's keys, `input` (`root`, `size`, `mtime_ns`) and `run`. A video is its absolute path, links kept: `root`
    and `path` make it up, so that equal names in two folders are two videos. A video whose file has the size and time
    of change of its record is not done again; a newer record supersedes the older, which goes when the run ends. A
    record whose video is no longer where it was stands for the one with the same `path`, size and time of change.

    Use it as a context manager: leaving it finishes the document, also for an interrupt.
    """

    keeps_all_labels = True

    def __init__(
        self,
        path: Path,
        form: str | Document,
        *,
        run: Run,
        any_precision: bool = False,
        resume: bool = True,
        retry_errors: bool = False,
    ) -> None:
        """Take the file for this process alone.

        Args:
            path: where the labels go; a link is followed.
            form: one of `FORMATS`, or another kind of document.
            run: model and settings.
            any_precision: continue with records that were computed in another precision than `run`'s.
            resume: keep the records that are there; else start over.
            retry_errors: do videos again that failed.

        Raises:
            OutputError: it cannot be written, another process writes it, it holds something else, or labels of another
                model or other settings.
        """
        self.path = Path(os.path.realpath(path))
        self._run, self._any_precision, self._retry_errors = run, any_precision, retry_errors
        self._document: Document | None = form if isinstance(form, Document) else _DOCUMENTS.get(form)
        self._filtered = self._otherwise = self._suspected = 0
        if self.path.is_dir():
            raise OutputError(f"--output {path}: this is a folder; name a file in it")
        if self._document is not None:
            self._document.check(path)
        self._lock = Lock(self.path)
        begun_before = self._journal.exists()
        try:
            self._log = self._open(_LINES[str(form)] if self._document is None else self._document.journal, resume)
            try:
                self._runs = self._runs_before()
                if self._refilters:
                    self._log.show(self._run.view, self._runs_seen())
            except BaseException:
                self._log.close()
                if not begun_before:
                    self._journal.unlink(missing_ok=True)
                raise
        except BaseException:
            self._lock.close()
            raise
        self._in_progress = InProgress(self.path, resume=resume)

    def known(self, job: Job, stamp: Stamp | None) -> Known | None:
        """What the file says of this video, if that was said of the same file."""
        key, same = self._key(job), (stamp.size, stamp.mtime_ns) if stamp else (None, None)
        entry = self._log.entries.get(key) or self._moved_here(job, same)
        if entry is None or (entry.size, entry.mtime_ns) != same or (entry.error and self._retry_errors):
            self._suspected += bool(self.deaths(job, stamp))
            return None
        self._in_progress.done(key)
        before = self._runs[entry.run]
        self._filtered += entry.error is None and before.view != self._run.view and not entry.all_labels
        self._otherwise += before.precision != self._run.precision
        shown = (entry.probability or 0.0) >= self._run.min_probability
        return Known(entry.label if shown else None, entry.error)

    def remarks(self) -> list[str]:
        """What is to be said of the videos that `known` was asked about, a sentence each."""
        remarks = []
        if self._filtered:
            remarks.append(
                f"{self._filtered} of the videos labeled before have only the labels that an earlier --top-k or "
                "--min-probability chose; --no-resume labels everything again"
            )
        if self._otherwise:
            remarks.append(
                f"{self._otherwise} of the videos labeled before were computed in another precision than "
                f"{self._run.precision}, this machine's default; they keep their labels"
            )
        if self._suspected:
            remarks.append(
                f"vidcomp was killed while it worked on {self._suspected} of these videos; they are tried at the "
                "end, one at a time"
            )
        return remarks

    def deaths(self, job: Job, stamp: Stamp | None) -> int:
        """How often the program died while this video was worked on: 0, 1, or 2 if the last time it was alone."""
        return self._in_progress.deaths(self._key(job), stamp)

    def begin(self, job: Job, stamp: Stamp | None, *, alone: bool) -> None:
        """Note that work on this video begins, with no other in the works or with others."""
        self._in_progress.begin(self._key(job), stamp, alone=alone)

    def pass_over(self, job: Job) -> None:
        """There is nothing to keep of this video."""
        self._in_progress.done(self._key(job))

    def records(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Record]]:
        """The latest record of each of these videos that has one, as far as the format keeps it."""
        wanted, codec = {self._key(job): job for job in jobs}, self._log.codec
        for piece in self._log.pieces():
            if (job := wanted.get(codec.parse(piece).key)) is not None:
                yield job, codec.record(piece)

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        """Append a record, whole.

        Raises:
            OutputError: there is no room; the records before stay.
        """
        source = {
            "root": job.root,
            "size": stamp.size if stamp else None,
            "mtime_ns": stamp.mtime_ns if stamp else None,
        }
        self._log.append({**self.record_of(prediction), "input": source, "run": str(self._run)})
        self._in_progress.done(self._key(job))

    def record_of(self, prediction: Prediction) -> Record:
        """What is kept of a prediction."""
        return self._run.view.of(prediction.to_dict(max(STORED_LABELS, self._run.top_k)))

    def finish(self) -> None:
        """Make the document of its journal, or drop superseded lines."""
        if self._document is None:
            self._log.tidy()
            return
        with kept_so_far(self.path):
            self._document.write(self.path, self._log.pieces())
        with contextlib.suppress(OSError):
            self._journal.unlink()

    def close(self) -> None:
        """Let others write the file."""
        self._in_progress.close()
        self._log.close()
        self._lock.close()

    def _open(self, codec: Lines, resume: bool) -> RecordLog:
        log_path = self.path if self._document is None else self._journal
        with kept_so_far(self.path):
            if not resume:
                log_path.unlink(missing_ok=True)
            elif self._document is not None and not log_path.exists() and self.path.exists():
                replace_file(log_path, self._document.read(self.path))
            if isinstance(codec, Csv):
                codec.bring_up_to_date(log_path)
        return RecordLog(log_path, codec)

    def _key(self, job: Job) -> str:
        return self._log.codec.text(identity(job.root, job.name))

    def _runs_before(self) -> dict[str | None, Run]:
        """The runs that the records are of; OutputError if one of them had another model or other settings."""
        runs: dict[str | None, Run] = {}
        instead = "choose another --output, or --no-resume to start over"
        for name in {entry.run for entry in self._log.entries.values()}:
            before = self._run.read(name) if name is not None else None
            if before is None:
                what = "by another model or with other settings" if name is not None else "without --output"
                raise OutputError(f"--output {self.path}: labels in it were made {what}; {instead}")
            wanted = replace(self._run, precision=before.precision) if self._any_precision else self._run
            if differences := wanted.differences(before):
                raise OutputError(
                    f"--output {self.path}: labels in it were made with {', '.join(differences)}; {instead}"
                )
            runs[name] = before
        return runs

    @property
    def _refilters(self) -> bool:
        """Whether the file holds more labels than it shows, so that others can be shown."""
        return isinstance(self._log.codec, JsonLines)

    def _runs_seen(self) -> dict[str | None, str]:
        """For runs that showed other labels: what they are called when they show this run's."""
        view = self._run.view
        return {
            name: str(replace(before, top_k=view.top_k, min_probability=view.min_probability))
            for name, before in self._runs.items()
            if before.view != view
        }

    def _moved_here(self, job: Job, same: tuple[int | None, int | None]) -> Entry | None:
        """The one record of this video that has no root yet, or whose file has gone from where it was."""
        if job.root is None:
            return None
        entries = self._log.entries
        found = [
            key
            for key in self._by_path.get(self._log.codec.text(job.name), ())
            if (entry := entries.get(key)) is not None
            and (entry.size, entry.mtime_ns) == same
            and (entry.root is None or (entry.size is not None and not os.path.lexists(key)))
        ]
        return self._log.move(found[0], job.root) if len(found) == 1 else None

    @cached_property
    def _by_path(self) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {}
        for key, entry in self._log.entries.items():
            keys.setdefault(entry.path, []).append(key)
        return keys

    @property
    def _journal(self) -> Path:
        return self.path.with_name(f"{self.path.name}.journal.jsonl")
