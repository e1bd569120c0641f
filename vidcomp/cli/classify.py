"""`vidcomp classify`: label videos, folders of videos, or a list of them."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from vidcomp.cli.errors import INTERRUPTED, SOME_FAILED, UsageError, reported, warn

if TYPE_CHECKING:
    from vidcomp.inference.engine import Classifier
    from vidcomp.inference.strategies import Strategy
    from vidcomp.output.writers import Writer

_DEFAULT_MODEL = "ucf16-lite0"


class DeviceChoice(str, Enum):
    """What may be asked for with --device."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class OutputFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def classify(
    paths: list[str] = typer.Argument(
        metavar="PATH...",
        help="Video files, folders (searched recursively), globs, or - for a list of paths on standard input.",
    ),
    model: str = typer.Option(_DEFAULT_MODEL, "--model", help="A model's name, or the path of a YAML manifest."),
    compressor: str | None = typer.Option(
        None,
        "--compressor",
        metavar="sfc|sgs|none",
        help="The model's compressor (its default), or none to pass the whole video through the tail.",
    ),
    tau: float | None = typer.Option(None, "--tau", help="Compression ratio of SFC (at least 1)."),
    clips: int | None = typer.Option(
        None, "--clips", min=1, help="Pass this many clips spread over the video instead of all of it."
    ),
    clip_frames: int = typer.Option(128, "--clip-frames", min=1, help="Source frames of each clip with --clips."),
    top_k: int = typer.Option(5, "--top-k", min=1, help="Labels to give for each video."),
    device: DeviceChoice = typer.Option(DeviceChoice.AUTO, "--device", help="Where the model runs."),
    output_format: OutputFormat | None = typer.Option(
        None, "--format", help="How to print; by default a table, or what --output's extension says."
    ),
    output: Path | None = typer.Option(None, "--output", help="Write to this file instead of standard output."),
    decode_timeout: float | None = typer.Option(
        None, "--decode-timeout", min=0.1, help="Seconds that decoding one video may take; by default scaled to it."
    ),
    quiet: bool = typer.Option(False, "--quiet", help="No progress and no warnings."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Label videos: their most probable actions, in one pass over each.

    Results go to standard output, progress and warnings to standard error. The exit code is 0 if every video was
    labelled, 1 if some failed, 2 for wrong usage, 130 if interrupted.
    """
    with reported(debug=debug):
        chosen = _format_of(output_format, output)
        from vidcomp.video import find_videos

        sources = find_videos(paths, stdin=sys.stdin.buffer)
        videos = [video.path for video in sources.videos]
        for note in sources.notes if not quiet else ():
            warn(note)
        if not videos:
            raise UsageError(f"no videos in {', '.join(paths)}: name a file, or a folder that holds videos")
        strategy = _strategy(clips, clip_frames)
        with ExitStack() as stack:
            stream = stack.enter_context(_open_output(output)) if output else sys.stdout
            writer = _writer(chosen, stream, top_k, single=len(videos) == 1)
            stack.callback(writer.close)
            classifier = stack.enter_context(
                _load(model, compressor, tau, device.value, strategy, decode_timeout, quiet)
            )
            failed = _run(classifier, videos, writer, quiet=quiet)
        if failed:
            raise typer.Exit(SOME_FAILED)


def _run(classifier: Classifier, paths: list[str], writer: Writer, *, quiet: bool) -> int:
    """Label each video and write what came of it; returns how many failed."""
    from vidcomp.cli.progress import video_progress

    failed = 0
    try:
        with video_progress(len(paths), quiet=quiet) as advance:
            for prediction in classifier.classify_all(paths):
                writer.write(prediction)
                if prediction.error is not None:
                    failed += 1
                    warn(prediction.error.message, prefix="error")
                elif not quiet:
                    for note in prediction.notes:
                        warn(f"{prediction.path}: {note}")
                advance(prediction.path)
    except KeyboardInterrupt:
        warn("interrupted: the videos labelled so far were written", prefix="error")
        raise typer.Exit(INTERRUPTED) from None
    return failed


def _load(
    model: str,
    compressor: str | None,
    tau: float | None,
    device: str,
    strategy: Strategy | None,
    decode_timeout_s: float | None,
    quiet: bool,
) -> Classifier:
    from vidcomp.cli.progress import download_progress
    from vidcomp.inference.engine import Classifier
    from vidcomp.zoo.build import Variant, load_model

    with download_progress(quiet=quiet) as progress:
        loaded = load_model(model, Variant(compressor, tau), progress)
    try:
        return Classifier(loaded, device=device, strategy=strategy, decode_timeout_s=decode_timeout_s)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _strategy(clips: int | None, clip_frames: int) -> Strategy | None:
    if clips is None:
        return None
    from vidcomp.inference.strategies import UniformClips

    return UniformClips(clips, clip_frames)


def _format_of(chosen: OutputFormat | None, output: Path | None) -> OutputFormat:
    """The format asked for, or else the one that the output's extension names."""
    if chosen is not None:
        return chosen
    if output is None:
        return OutputFormat.TABLE
    extension = output.suffix.removeprefix(".").lower()
    try:
        return OutputFormat(extension)
    except ValueError:
        raise UsageError(
            f"--output {output}: the extension names no format; use .json, .jsonl or .csv, or give --format"
        ) from None


def _open_output(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror}); choose another file") from None


def _writer(chosen: OutputFormat, stream: TextIO, top_k: int, *, single: bool) -> Writer:
    from vidcomp.output.table import TableWriter
    from vidcomp.output.writers import WRITERS

    if chosen is OutputFormat.TABLE:
        return TableWriter(stream, top_k, single=single)
    return WRITERS[chosen.value](stream, top_k)
