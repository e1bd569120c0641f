"""Does what `vidcomp classify` was asked to do: finds the videos, loads the model, labels, and tells how it goes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from vidcomp.cli.errors import OK, SOME_FAILED, Stop, Stopped, UsageError, stop_signals
from vidcomp.cli.explain import Show, moment_clips, pictures, report
from vidcomp.cli.options import ClassifyOptions, InputOptions, OutputFormat, OutputOptions, PathsChoice
from vidcomp.cli.terminal import (
    batch_progress,
    beginning,
    compile_model,
    download_progress,
    place_lines,
    run_summary,
    say,
    tell_prediction,
    warn,
)
from vidcomp.files import absolute, counted, printable
from vidcomp.inference.batch import Job, RunStats, Sink, Stamp, label_all, pending, stamp_of
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.device import precision_name
from vidcomp.inference.prediction import Prediction
from vidcomp.output.explanations import is_explanation
from vidcomp.output.formats import STREAMED, RecordWriter, Writer
from vidcomp.output.labels_file import FORMATS, LabelsFile, read_records
from vidcomp.output.places import Sorter
from vidcomp.output.run import OutputError, Run, identity
from vidcomp.output.subtitles import SubtitleFiles
from vidcomp.output.terminal import TableWriter
from vidcomp.video import DecodePool, VideoFile, find_videos
from vidcomp.video.remote import Downloads, is_address
from vidcomp.zoo.build import load_model
from vidcomp.zoo.weights import fingerprint

To = Callable[[ClassifyOptions, Classifier], AbstractContextManager[Sink]]
"""Opens where predictions go."""


def run(
    options: ClassifyOptions,
    pool: DecodePool | None = None,
    *,
    to: To | None = None,
    make: Callable[..., Classifier] = Classifier,
) -> int:
    """Label the videos, with decoding processes that run already, if given; returns the exit code.

    Predictions go where ``to`` says, by default where the options do. ``make`` makes the classifier of its model.

    Raises:
        UsageError, SourceError, ZooError, OutputError: it cannot be done as asked.
        Stopped: a signal ended it; results so far are kept.
    """
    output = options.output
    jobs = _jobs(options)
    if not jobs:
        return OK
    if output.dry_run:
        _list_videos(jobs, options)
        return OK
    with stop_signals() as stop, ExitStack() as stack:
        classifier = stack.enter_context(load(options, pool, make=make))
        single = len(jobs) == 1
        opened = _sink(options, classifier, single=single) if to is None else to(options, classifier)
        sink = stack.enter_context(opened)
        todo, known = pending(jobs, sink)
        for remark in sink.remarks() if isinstance(sink, LabelsFile) and not output.quiet else ():
            warn(remark, prefix="note")
        if len(todo) > 1 and not output.quiet:
            beginning(len(todo), classifier.model.manifest.name, str(classifier.runner.device))
        labeled, unexpected = [job for job, _ in known], _unexpected(output)
        shows: list[Show] = []
        if options.explain.folder is not None:
            shows.append(stack.enter_context(pictures(options, classifier, todo, labeled, unexpected)))
        if output.cut is not None:
            shows.append(moment_clips(options, classifier, [*todo, *labeled], unexpected))
        if options.explain.report is not None:
            shows.append(stack.enter_context(report(options, classifier, sink, labeled, unexpected)))
        stats = RunStats(len(todo))
        sorter = _Sorting(output)
        for job, before in known:
            stats.remember(before)
            sorter.place(job, before.label)
        try:
            _label(classifier, todo, sink, stats, shows, sorter, output, stop)
        except Stopped as stopped:
            warn(_farewell(stopped, output), prefix="error")
            raise
    if not output.quiet:
        places = _places(options, sink, single=single, kind="labels" if to is None else "vectors")
        for message in place_lines(places) if single else [run_summary(stats, places)]:
            say(message)
    return SOME_FAILED if stats.errors or sorter.failed else OK


def _jobs(options: ClassifyOptions) -> list[Job]:
    given, output = options.input, options.output
    selection = given.selection()
    found = find_videos(
        given.paths,
        stdin=sys.stdin.buffer,
        lists=given.lists,
        null=given.null,
        all_files=given.all_files,
        allow_urls=given.allow_urls,
    )
    for remark in found.notes if not output.quiet else ():
        warn(remark)
    put_before = tuple(_inside(folder) for folder in (output.move_to, output.link_to, output.cut) if folder is not None)
    explained_before = None if options.explain.folder is None else _inside(options.explain.folder)
    videos = [
        video
        for video in _apart(found.videos, options)
        if not absolute(video.path).startswith(put_before)
        and not (explained_before and absolute(video.path).startswith(explained_before) and is_explanation(video.path))
    ]
    if not videos:
        raise UsageError(
            f"no videos in {', '.join((*given.paths, *given.lists))}: name a file, or a folder that holds videos"
        )
    chosen = selection.of(videos)
    if not chosen and selection.shard is None:
        raise UsageError(f"--include/--exclude leave none of the {counted(len(videos), 'video')} found")
    if not chosen and not output.quiet:
        warn(f"none of the {counted(len(videos), 'video')} found is in --shard {given.shard}: nothing to do")
    if output.path is not None and given.one_folder is not None:
        root = _root(given.one_folder)
        jobs = [Job(video.path, video.relative, video.certain, root) for video in chosen]
    else:
        jobs = [Job(video.path, video.path, video.certain, _root_of(video.path, given)) for video in chosen]
    if output.paths is PathsChoice.ABSOLUTE:
        jobs = [replace(job, name=identity(job.root, job.name), root=None) for job in jobs]
    return jobs


def _list_videos(jobs: Sequence[Job], options: ClassifyOptions) -> None:
    """Print the videos that would be labeled now, one per line, and how many that are."""
    output, done = options.output, {}
    if output.resume and output.path is not None and output.form.value in FORMATS and output.path.is_file():
        for record in read_records(output.path):
            source = record.get("input") or {}
            if not (record["error"] and output.retry_errors):
                done[identity(source.get("root"), record["path"])] = (source.get("size"), source.get("mtime_ns"))
    todo = []
    for job in jobs:
        stamp = stamp_of(job.path)
        same = (stamp.size, stamp.mtime_ns) if stamp else (None, None)
        if done.get(identity(job.root, job.name)) != same:
            todo.append(job)
    for job in todo:
        print(printable(job.path))
    if not output.quiet:
        before = f"; {len(jobs) - len(todo)} are done in {output.path}" if len(todo) < len(jobs) else ""
        say(f"{len(todo)} of {counted(len(jobs), 'video')} would be labeled with {options.model.name}{before}")


def _places(options: ClassifyOptions, sink: Sink, *, single: bool, kind: str) -> list[tuple[str, str | Path | None]]:
    """What the run made, and where that lies."""
    output, explain = options.output, options.explain
    labels: str | Path | None = output.path
    if isinstance(sink, SubtitleFiles) and (single or labels is None):
        labels = sink.last if single else f"NAME.vidcomp.{output.form.value} beside each video"
    return [
        ("subtitles" if output.form.is_subtitles else kind, labels),
        ("report", explain.report),
        ("pictures", explain.folder),
        ("videos", output.move_to or output.link_to),
        ("clips", output.cut),
    ]


def _root(folder: str) -> str:
    """The absolute path of a folder, links kept, unless `..` makes text and path differ."""
    return os.path.realpath(folder) if ".." in Path(folder).parts else absolute(folder)


def _root_of(path: str, given: InputOptions) -> str | None:
    """What the name of a video is relative to."""
    is_file = not (given.allow_urls and is_address(path)) or os.path.lexists(path)
    return os.getcwd() if is_file and not os.path.isabs(path) else None  # noqa: PTH109, PTH117


def _apart(videos: Sequence[VideoFile], options: ClassifyOptions) -> list[VideoFile]:
    """The videos without what is written now; UsageError if that is one of them, or a list of them."""
    written = {"--output": options.output.path, "--report": options.explain.report}
    names = {
        place: (option, path)
        for option, path in written.items()
        if path is not None
        for place in (absolute(str(path)), os.path.realpath(path))
    }
    for name in (*(video.path for video in videos if video.certain), *options.input.lists):
        if hit := names.get(absolute(name)):
            option, path = hit
            raise UsageError(f"{option} {path}: this is one of the videos or lists to read; name another file")
    return [video for video in videos if absolute(video.path) not in names]


def load(
    options: ClassifyOptions,
    pool: DecodePool | None = None,
    *,
    downloads: Downloads | None = None,
    make: Callable[..., Classifier] = Classifier,
) -> Classifier:
    """The classifier that was asked for, with decoding processes that run already, and what fetches, if given."""
    chosen = options.model
    named = chosen.named(subtitles=options.output.form.is_subtitles)
    with download_progress(quiet=options.output.quiet) as progress:
        loaded = load_model(chosen.name, replace(named.variant, only=chosen.labels()), progress)
    for remark in loaded.notes if not options.output.quiet else ():
        warn(remark, prefix="note")
    try:
        classifier = make(
            loaded,
            device=chosen.device,
            strategy=named.strategy,
            decode_timeout_s=chosen.decode_timeout_s,
            decode_workers=chosen.decode_workers,
            precision=chosen.precision,
            batch=chosen.batch,
            allow_urls=options.input.allow_urls,
            max_damage=chosen.max_damage,
            decoder=chosen.decoder,
            moments=chosen.moments,
            pool=pool,
            downloads=downloads,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if chosen.compile:
        compile_model(classifier, quiet=options.output.quiet)
    return classifier


@contextmanager
def _sink(options: ClassifyOptions, classifier: Classifier, *, single: bool) -> Iterator[Sink]:
    output, path, form = options.output, options.output.path, options.output.form
    if form is OutputFormat.CSV and options.model.every is not None:
        raise UsageError("--every: CSV has no place for windows; use .json, .jsonl or .parquet")
    if form.is_subtitles:
        is_file = path is not None and single and not path.is_dir()
        place = {"file" if is_file else "folder": path}
        with SubtitleFiles(form.value, **place, resume=output.resume) as subtitles:
            yield subtitles
    elif path is not None and form.value in FORMATS and (path.is_file() or not path.exists() or path.is_dir()):
        with LabelsFile(
            path,
            form.value,
            run=run_of(classifier, output),
            any_precision=options.model.precision == "auto",
            resume=output.resume,
            retry_errors=output.retry_errors,
        ) as file:
            yield file
    else:
        with _written_to(path), ExitStack() as stack:
            stream = stack.enter_context(path.open("w", encoding="utf-8", newline="")) if path else sys.stdout
            writer = _writer(form, stream, output.top_k, single=single)
            stack.callback(writer.close)
            yield _Stream(writer)


def run_of(classifier: Classifier, output: OutputOptions) -> Run:
    """What is to be said of a run in what it writes."""
    manifest = classifier.model.manifest
    return Run(
        manifest.name,
        fingerprint(manifest),
        (classifier.strategy.name if classifier.strategy else "auto") + ("+moments" if classifier.moments else ""),
        precision_name(classifier.runner.precision),
        output.top_k,
        output.min_probability,
    )


def _label(
    classifier: Classifier,
    jobs: list[Job],
    sink: Sink,
    stats: RunStats,
    shows: Iterable[Show],
    sorter: _Sorting,
    output: OutputOptions,
    stop: Stop,
) -> None:
    with batch_progress(stats, quiet=output.quiet) as advance:
        results = label_all(
            classifier,
            jobs,
            sink,
            stats,
            min_probability=output.min_probability,
            unexpected=_unexpected(output),
        )
        for job, prediction in results:
            tell_prediction(prediction, quiet=output.quiet, verbose=output.verbose)
            for show in shows:
                show(job, prediction)
            sorter.place(job, prediction.top.label if prediction.top else None)
            advance()
            stop.check()


class _Stream(Sink):
    """A stream as a sink: it remembers nothing."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        self._writer.write(prediction)


def _farewell(stopped: Stopped, output: OutputOptions) -> str:
    where = "the videos labeled so far were written"
    if output.path is not None and not output.form.is_subtitles:
        where += "; run the same command again to continue"
    return f"{'interrupted' if str(stopped) == 'SIGINT' else 'terminated'}: {where}"


def _unexpected(output: OutputOptions) -> Callable[[Exception], None]:
    """What to do with an exception that ends nothing: with --debug, it is shown."""
    return (lambda error: traceback.print_exception(error, file=sys.stderr)) if output.debug else lambda error: None


class _Sorting:
    """Sorts by label if that was asked for; a video that cannot be put there stays where it is, and is told."""

    def __init__(self, output: OutputOptions) -> None:
        folder = output.move_to or output.link_to
        self._sorter = None if folder is None else Sorter(folder, move=output.move_to is not None)
        self.failed = 0

    def place(self, job: Job, label: str | None) -> None:
        if self._sorter is None or label is None:
            return
        try:
            self._sorter.place(job.path, label)
        except OutputError as error:
            self.failed += 1
            warn(str(error), prefix="error")


def _inside(folder: Path) -> str:
    """How paths within a folder begin: what was put there is not found again."""
    return os.path.join(absolute(str(folder)), "")  # noqa: PTH118


@contextmanager
def _written_to(path: Path | None) -> Iterator[None]:
    """Within this, results are written to a device or a pipe, if that is named."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            raise
        raise UsageError(f"--output {path}: cannot be written ({error.strerror}); choose another file") from None


def _writer(form: OutputFormat, stream: TextIO, top_k: int, *, single: bool) -> Writer:
    if form is OutputFormat.TABLE:
        return TableWriter(stream, top_k, single=single)
    if form.value not in STREAMED:
        raise UsageError(f"--format {form.value}: needs an ordinary file to write to")
    return RecordWriter(form.value, stream, top_k)
