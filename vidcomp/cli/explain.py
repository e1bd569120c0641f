"""What `vidcomp classify` makes beside the labels: pictures of what was looked at, clips of moments, and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vidcomp.cli.errors import UsageError
from vidcomp.cli.options import ClassifyOptions
from vidcomp.cli.terminal import warn
from vidcomp.inference.batch import Job, Sink
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.output import plots
from vidcomp.output.explanations import Explanations
from vidcomp.output.labels_file import LabelsFile
from vidcomp.output.run import Record

Show = Callable[[Job, Prediction], None]


@contextmanager
def pictures(
    options: ClassifyOptions,
    classifier: Classifier,
    todo: Sequence[Job],
    known: Sequence[Job],
    unexpected: Callable[[Exception], None],
) -> Iterator[Show]:
    """Give a function that makes a labeled video's pictures; a failure is a warning.

    Raises:
        UsageError: pictures cannot be made at all.
    """
    folder = options.explain.folder
    assert folder is not None
    _check(options, classifier)
    every = [job.path for job in (*todo, *known)]
    with Explanations(
        folder, every, root=options.input.one_folder, video=options.explain.video, pool=classifier.pool
    ) as explanations:
        missing = sum(not os.path.exists(explanations.beside(job.path, "png")) for job in known)  # noqa: PTH110 - any length
        if missing and not options.output.quiet:
            warn(
                f"{missing} of the videos labeled before have no picture in {folder}; "
                "pictures are made of videos labeled now: --no-resume labels all again"
            )

        def show(job: Job, prediction: Prediction) -> None:
            if not prediction.ok:
                return
            with _never_fatal(job.name, "no picture", quiet=options.output.quiet, unexpected=unexpected):
                explanations.write(job.path, prediction)

        yield show


def moment_clips(
    options: ClassifyOptions, classifier: Classifier, jobs: Sequence[Job], unexpected: Callable[[Exception], None]
) -> Show:
    """Give a function that cuts out a labeled video's moments; a failure is a warning."""
    output = options.output
    assert output.cut is not None
    if output.cut.exists() and not output.cut.is_dir():
        raise UsageError(f"--cut {output.cut}: this is a file; name a folder")
    from vidcomp.output.moment_clips import MomentClips

    paths, root = [job.path for job in jobs], options.input.one_folder
    clips = MomentClips(output.cut, paths, classifier.pool, root=root, exact=output.cut_exact)

    def show(job: Job, prediction: Prediction) -> None:
        with _never_fatal(job.name, "not all of its moments were cut", quiet=output.quiet, unexpected=unexpected):
            clips.write(job.path, prediction)

    return show


@contextmanager
def report(
    options: ClassifyOptions,
    classifier: Classifier,
    sink: Sink,
    known: Sequence[Job],
    unexpected: Callable[[Exception], None],
) -> Iterator[Show]:
    """Give a function that adds a video to the report; a failure is a warning.

    Videos that an earlier run has labeled are in it too, as far as the labels' file tells.

    Raises:
        UsageError, OutputError: it cannot be written.
    """
    path, output = options.explain.report, options.output
    assert path is not None
    if output.path is not None and os.path.realpath(path) == os.path.realpath(output.path):
        raise UsageError(f"--report {path}: this is --output; name another file")
    from vidcomp.output.html import HtmlReport

    model = options.model.name
    title = f"vidcomp: {', '.join(options.input.paths) or 'videos'} by {model}"
    with HtmlReport(path, title, pool=classifier.pool) as page:

        def add(record: Record, video: str) -> None:
            with _never_fatal(record["path"], "not in the report", quiet=output.quiet, unexpected=unexpected):
                page.add(record, video)

        if isinstance(sink, LabelsFile) and known:
            for job, record in sink.records(known):
                add(record, job.path)
        yield lambda job, prediction: add(prediction.to_dict(output.top_k), job.path)


@contextmanager
def _never_fatal(name: str, lack: str, *, quiet: bool, unexpected: Callable[[Exception], None]) -> Iterator[None]:
    """Turn any failure into a warning: a label is never lost for what is made beside it."""
    try:
        yield
    except Exception as error:
        unexpected(error)
        if not quiet:
            warn(f"{name}: {lack}: {str(error) or type(error).__name__}")


def _check(options: ClassifyOptions, classifier: Classifier) -> None:
    folder = options.explain.folder
    if not plots.available():
        raise UsageError(f"--explain {folder}: {plots.HINT}")
    if options.model.every is not None or options.output.form.is_subtitles:
        raise UsageError("--explain: windows (--every, subtitles) have no attention of the whole video; choose one")
    if all(compressor.kind == "identity" for compressor in classifier.model.network.compressors):
        raise UsageError("--explain: nothing is compressed here, so there is no attention to show; choose a compressor")
    assert folder is not None
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--explain {folder}: this is a file; name a folder")
