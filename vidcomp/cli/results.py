"""`vidcomp results`: stored labels, filtered, converted, merged and drawn, without computing anything again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp.cli.errors import UsageError, reported
from vidcomp.cli.options import Debug, OutputFormat, OutputOptions, Quiet, finite
from vidcomp.cli.terminal import batch_progress, run_summary, say, warn

if TYPE_CHECKING:
    from vidcomp.inference.batch import RunStats
    from vidcomp.output.run import Record


class Shown(str, Enum):
    """What may be asked for with --show."""

    ALL = "all"
    LABELED = "labeled"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


def _print_schema(wanted: bool) -> None:
    if wanted:
        from importlib.resources import files

        print(files("vidcomp.output").joinpath("record.schema.json").read_text(encoding="utf-8"), end="")
        raise typer.Exit


def results(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files that classify wrote: .jsonl, .json, .csv or .parquet."),
    ],
    min_probability: Annotated[
        float,
        typer.Option("--min-probability", min=0.0, max=1.0, callback=finite, help="Leave out less probable labels."),
    ] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Labels to show per video.")] = 5,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only videos with this best label; may be repeated.")
    ] = None,
    show: Annotated[
        Shown,
        typer.Option(
            "--show", help="Only videos with a label, those whose best label is uncertain, or those that failed."
        ),
    ] = Shown.ALL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    output_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="By default a table, or what --output's extension says.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Draw one page of these videos.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option("--schema", callback=_print_schema, is_eager=True, help="Print the JSON Schema of a record."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Filter, convert, merge and draw stored results. Nothing is computed again.

    Several files are merged. If a video is in more than one, the last file counts. Files that classify wrote keep up to
    20 labels per video, so --top-k can be larger than it was. CSV keeps only the best.

    Examples: [b]vidcomp results labels.jsonl --min-probability 0.9 --format csv[/b],
    [b]vidcomp results a.jsonl b.jsonl --output all.parquet[/b],
    [b]vidcomp results labels.jsonl --show uncertain --report check.html[/b].
    """
    with reported(debug=debug):
        from vidcomp.output.run import View

        where = OutputOptions(path=output, chosen=output_format, top_k=top_k, quiet=quiet, debug=debug)
        if where.form.is_subtitles:
            raise UsageError(f"--format {where.form.value}: results have no subtitles; classify makes them")
        for written in (output, report):
            if written is not None and any(written.resolve() == file.resolve() for file in files):
                raise UsageError(f"{written}: this is one of the files to read; name another file")
        view = View(top_k, min_probability)
        wanted = [
            record
            for record in map(view.of, _merged(files))
            if (not label or record["label"] in label) and _is_shown(record, show)
        ]
        _write(wanted, where)
        stats = _stats(wanted)
        if report is not None:
            _draw(wanted, report, f"vidcomp: {', '.join(file.name for file in files)}", stats, quiet=quiet)
        if not quiet and (output is not None or len(wanted) > 1):
            say(run_summary(stats, [("labels", output), ("report", report)]))


def _merged(files: Sequence[Path]) -> Iterator[Record]:
    """The records of all files; of each video the last one."""
    from vidcomp.output.labels_file import read_records

    videos: dict[str, Record] = {}
    for file in files:
        for record in read_records(file):
            videos.pop(_video(record), None)
            videos[_video(record)] = record
    return iter(videos.values())


def _video(record: Record) -> str:
    """The video that a record is about: its absolute path, or its address."""
    from vidcomp.output.run import identity

    return identity((record.get("input") or {}).get("root"), record["path"])


def _is_shown(record: Record, show: Shown) -> bool:
    failed = record["error"] is not None
    if show is Shown.FAILED:
        return failed
    if show is Shown.UNCERTAIN:
        return not failed and bool(record["uncertain"])
    return show is Shown.ALL or (not failed and bool(record["labels"]))


def _stats(records: Sequence[Record]) -> RunStats:
    from vidcomp.inference.batch import Known, RunStats

    stats = RunStats(len(records))
    for record in records:
        stats.remember(Known(record["label"], record["error"]["kind"] if record["error"] else None))
    stats.known = 0
    return stats


def _write(records: Sequence[Record], where: OutputOptions) -> None:
    """Print the records, or write them to a file that classify can go on with."""
    from vidcomp.inference.prediction import Prediction
    from vidcomp.output.formats import STREAMED, RecordWriter, without_source
    from vidcomp.output.labels_file import write_records
    from vidcomp.output.terminal import TableWriter

    if where.path is not None and where.form is not OutputFormat.TABLE:
        write_records(where.path, where.form.value, records)
        return
    with ExitStack() as stack:
        stream = stack.enter_context(where.path.open("w", encoding="utf-8")) if where.path else sys.stdout
        if where.form.value in STREAMED:
            writer = RecordWriter(where.form.value, stream, where.top_k)
            stack.callback(writer.close)
            for record in records:
                writer.write_record(without_source(record))
            return
        table = TableWriter(stream, where.top_k, single=False)
        stack.callback(table.close)
        for record in records:
            table.write(Prediction.from_dict(record))


def _draw(records: Sequence[Record], path: Path, title: str, stats: RunStats, *, quiet: bool) -> None:
    from vidcomp.output.html import HtmlReport

    with HtmlReport(path, title) as page, batch_progress(stats, quiet=quiet) as advance:
        for record in records:
            page.add(record, _video(record))
            stats.done += 1
            advance()
    stats.done = 0
    if not records:
        warn(f"--report {path}: no video is left to draw, and no page was written")
