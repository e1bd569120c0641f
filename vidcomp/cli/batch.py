"""Does what `vidcomp classify` was asked to do: finds the videos, loads the model, labels, and tells how it goes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from vidcomp.cli.compiling import compile_model
from vidcomp.cli.errors import OK, SOME_FAILED, UsageError, warn
from vidcomp.cli.progress import batch_progress, download_progress
from vidcomp.cli.request import Finding, OutputFormat, PathsChoice, Request, Writing
from vidcomp.cli.showing import Show, pictures, report
from vidcomp.cli.signals import Stop, Stopped, stop_signals
from vidcomp.files import absolute
from vidcomp.inference.batch import Job, RunStats, Sink, Stamp, label_all, pending
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.output.explanations import is_explanation
from vidcomp.output.formats import STREAMED, RecordWriter, Writer
from vidcomp.output.labels_file import FORMATS, LabelsFile, Run
from vidcomp.output.places import OutputError, identity
from vidcomp.output.sorting import Sorter
from vidcomp.output.subtitles import SubtitleFiles
from vidcomp.output.summary import summary
from vidcomp.output.table import TableWriter
from vidcomp.video import VideoFile, find_videos
from vidcomp.video.remote import is_address
from vidcomp.zoo.build import load_model
from vidcomp.zoo.fingerprint import fingerprint


def run(request: Request) -> int:
    """Label the videos; returns the exit code.

    Raises:
        UsageError, SourceError, ZooError, OutputError: it cannot be done as asked.
        Stopped: a signal ended it; results so far are kept.
    """
    writing = request.writing
    jobs = _jobs(request)
    if not jobs:
        return OK
    with stop_signals() as stop, ExitStack() as stack:
        classifier = stack.enter_context(_load(request))
        sink = stack.enter_context(_sink(request, classifier, single=len(jobs) == 1))
        todo, known = pending(jobs, sink)
        for remark in sink.remarks() if isinstance(sink, LabelsFile) and not writing.quiet else ():
            warn(remark, prefix="note")
        labelled, unexpected = [job for job, _ in known], _unexpected(writing)
        shows = (
            stack.enter_context(pictures(request, classifier, todo, labelled, unexpected)),
            stack.enter_context(report(request, sink, labelled, unexpected)),
        )
        tally = RunStats(len(todo))
        sorter = _Sorting(writing)
        for job, before in known:
            tally.remember(before)
            sorter.place(job, before.label)
        try:
            _label(classifier, todo, sink, tally, shows, sorter, writing, stop)
        except Stopped as stopped:
            warn(_farewell(stopped, writing), prefix="error")
            raise
    if not writing.quiet and len(jobs) > 1:
        print(f"vidcomp: {summary(tally)}", file=sys.stderr)
    return SOME_FAILED if tally.errors or sorter.failed else OK


def _jobs(request: Request) -> list[Job]:
    finding, writing = request.finding, request.writing
    choice = finding.choice()
    if not finding.paths and not finding.lists:
        raise UsageError("name a video, a folder, a pattern, - for a list on standard input, or --files-from FILE")
    found = find_videos(
        finding.paths,
        stdin=sys.stdin.buffer,
        lists=finding.lists,
        null=finding.null,
        all_files=finding.all_files,
        allow_urls=finding.allow_urls,
    )
    for note in found.notes if not writing.quiet else ():
        warn(note)
    sorted_before = _inside(writing.move_to or writing.link_to)
    explained_before = _inside(request.showing.explain)
    videos = [
        video
        for video in _apart(found.videos, request)
        if not (sorted_before and absolute(video.path).startswith(sorted_before))
        and not (explained_before and absolute(video.path).startswith(explained_before) and is_explanation(video.path))
    ]
    if not videos:
        raise UsageError(
            f"no videos in {', '.join((*finding.paths, *finding.lists))}: name a file, or a folder that holds videos"
        )
    chosen = choice.of(videos)
    if not chosen and choice.shard is None:
        raise UsageError(f"--include/--exclude leave none of the {len(videos)} videos found")
    if not chosen and not writing.quiet:
        warn(f"none of the {len(videos)} videos found is in --shard {finding.shard}: nothing to do")
    if writing.output is not None and _is_one_folder(finding):
        root = _root(finding.paths[0])
        jobs = [Job(video.path, video.relative, video.certain, root) for video in chosen]
    else:
        root = os.getcwd()  # noqa: PTH109
        jobs = [Job(video.path, video.path, video.certain, _root_of(video.path, root, finding)) for video in chosen]
    if writing.paths is PathsChoice.ABSOLUTE:
        jobs = [replace(job, name=identity(job.root, job.name), root=None) for job in jobs]
    return jobs


def _root(folder: str) -> str:
    """The absolute path of a folder, links kept, unless `..` makes text and path differ."""
    return os.path.realpath(folder) if ".." in Path(folder).parts else absolute(folder)


def _root_of(path: str, working_directory: str, finding: Finding) -> str | None:
    """What the name of a video is relative to."""
    is_file = not (finding.allow_urls and is_address(path)) or os.path.lexists(path)
    return working_directory if is_file and not os.path.isabs(path) else None  # noqa: PTH117


def _apart(videos: Sequence[VideoFile], request: Request) -> list[VideoFile]:
    """The videos without what is written now; UsageError if that is one of them, or a list of them."""
    written = {"--output": request.writing.output, "--report": request.showing.report}
    names = {
        place: (option, path)
        for option, path in written.items()
        if path is not None
        for place in (absolute(str(path)), os.path.realpath(path))
    }
    for name in (*(video.path for video in videos if video.certain), *request.finding.lists):
        if hit := names.get(absolute(name)):
            option, path = hit
            raise UsageError(f"{option} {path}: this is one of the videos or lists to read; name another file")
    return [video for video in videos if absolute(video.path) not in names]


def _is_one_folder(finding: Finding) -> bool:
    """Whether names relative to the folder are distinct: with several folders, `x.mp4` may be in each."""
    return len(finding.paths) == 1 and not finding.lists and os.path.isdir(finding.paths[0])  # noqa: PTH112


def _load(request: Request) -> Classifier:
    passing = request.passing
    named = passing.named(subtitles=request.writing.form.is_subtitles)
    with download_progress(quiet=request.writing.quiet) as progress:
        loaded = load_model(passing.model, replace(named.variant, only=passing.labels()), progress)
    try:
        classifier = Classifier(
            loaded,
            device=passing.device,
            strategy=named.strategy,
            decode_timeout_s=passing.decode_timeout_s,
            decode_workers=passing.decode_workers,
            precision=passing.precision,
            batch=passing.batch,
            allow_urls=request.finding.allow_urls,
            max_damage=passing.max_damage,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if passing.compile:
        compile_model(classifier, quiet=request.writing.quiet)
    return classifier


@contextmanager
def _sink(request: Request, classifier: Classifier, *, single: bool) -> Iterator[Sink]:
    writing, output, form = request.writing, request.writing.output, request.writing.form
    if form is OutputFormat.CSV and request.passing.every is not None:
        raise UsageError("--every: CSV has no place for windows; use .json, .jsonl or .parquet")
    if form.is_subtitles:
        is_file = output is not None and single and not output.is_dir()
        place = {"file" if is_file else "folder": output}
        with SubtitleFiles(form.value, **place, resume=writing.resume) as subtitles:
            yield subtitles
    elif output is not None and form.value in FORMATS and (output.is_file() or not output.exists() or output.is_dir()):
        with LabelsFile(
            output,
            form.value,
            run=_run_of(classifier, writing),
            any_precision=request.passing.precision == "auto",
            resume=writing.resume,
            retry_errors=writing.retry_errors,
        ) as file:
            yield file
    else:
        with ExitStack() as stack:
            stream = stack.enter_context(_open_output(output)) if output else sys.stdout
            writer = _writer(form, stream, writing.top_k, single=single)
            stack.callback(writer.close)
            yield _Stream(writer)


def _run_of(classifier: Classifier, writing: Writing) -> Run:
    manifest = classifier.model.manifest
    return Run(
        manifest.name,
        fingerprint(manifest),
        classifier.strategy.name if classifier.strategy else "auto",
        str(classifier.runner.precision).removeprefix("torch."),
        writing.top_k,
        writing.min_probability,
    )


def _label(
    classifier: Classifier,
    jobs: list[Job],
    sink: Sink,
    tally: RunStats,
    shows: Iterable[Show],
    sorter: _Sorting,
    writing: Writing,
    stop: Stop,
) -> None:
    with batch_progress(tally, quiet=writing.quiet) as advance:
        results = label_all(
            classifier,
            jobs,
            sink,
            tally,
            min_probability=writing.min_probability,
            unexpected=_unexpected(writing),
        )
        for job, prediction in results:
            _tell(prediction, quiet=writing.quiet)
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


def _tell(prediction: Prediction, *, quiet: bool) -> None:
    if prediction.error is not None:
        warn(prediction.error.message, prefix="error")
    elif not quiet:
        for note in prediction.notes:
            warn(f"{prediction.path}: {note}")


def _farewell(stopped: Stopped, writing: Writing) -> str:
    where = "the videos labelled so far were written"
    if writing.output is not None and not writing.form.is_subtitles:
        where += "; run the same command again to go on"
    return f"{'interrupted' if str(stopped) == 'SIGINT' else 'terminated'}: {where}"


def _unexpected(writing: Writing) -> Callable[[Exception], None]:
    """What to do with an exception that ends nothing: with --debug, it is shown."""
    return (lambda error: traceback.print_exception(error, file=sys.stderr)) if writing.debug else lambda error: None


class _Sorting:
    """Sorts by label if that was asked for; a video that cannot be put there stays where it is, and is told."""

    def __init__(self, writing: Writing) -> None:
        folder = writing.move_to or writing.link_to
        self._sorter = None if folder is None else Sorter(folder, move=writing.move_to is not None)
        self.failed = 0

    def place(self, job: Job, label: str | None) -> None:
        if self._sorter is None or label is None:
            return
        try:
            self._sorter.place(job.path, label)
        except OutputError as error:
            self.failed += 1
            warn(str(error), prefix="error")


def _inside(folder: Path | None) -> str | None:
    """How paths within a folder begin: what was put there is not found again."""
    return None if folder is None else os.path.join(absolute(str(folder)), "")  # noqa: PTH118


def _open_output(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror}); choose another file") from None


def _writer(form: OutputFormat, stream: TextIO, top_k: int, *, single: bool) -> Writer:
    if form is OutputFormat.TABLE:
        return TableWriter(stream, top_k, single=single)
    if form.value not in STREAMED:
        raise UsageError(f"--format {form.value}: needs an ordinary file to write to")
    return RecordWriter(form.value, stream, top_k)
