"""`vidcomp compare`: strategies side by side on your videos and your machine."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli import options as opt
from vidcomp.cli.errors import INTERRUPTED, SOME_FAILED, Stopped, UsageError, reported, stop_signals
from vidcomp.cli.files import check_file, write_file
from vidcomp.cli.options import complete_strategies, finite
from vidcomp.cli.terminal import loading, warn

if TYPE_CHECKING:
    from vidcomp.evaluation.comparison import Comparison
    from vidcomp.evaluation.evaluator import Evaluator
    from vidcomp.video.labeled import LabeledVideo


class ComparisonFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"


def compare(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Videos, folders, globs, - for a list on standard input, or a CSV file of path,label. A folder with "
            "a sub-folder per label of the model gives accuracy too. Without any, a generated video is measured: "
            "speed, size and memory only.",
            show_default=False,
        ),
    ] = None,
    null: opt.Null = False,
    model: opt.Model = DEFAULT_MODEL,
    dense: Annotated[
        list[int] | None,
        typer.Option(
            "--dense", metavar="N", min=1, help="Row: N dense views (N/3 clips x 3 crops) of the uncompressed network."
        ),
    ] = None,
    sfc: Annotated[
        bool, typer.Option("--sfc", help="Row: the whole video in one pass, compressed by the model's SFC.")
    ] = False,
    sgs: Annotated[
        bool, typer.Option("--sgs", help="Row: the whole video in one pass, compressed by the model's SGS.")
    ] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Row: the whole video in one pass, not compressed.")] = False,
    bitstream: Annotated[
        bool,
        typer.Option(
            "--bitstream", help="Row: from the bitstream (key frames and what has moved since), by the model's sibling."
        ),
    ] = False,
    uniform: Annotated[
        list[int] | None,
        typer.Option(
            "--uniform", metavar="N", min=1, help="Row: N clips of 128 frames, joined, with the model's compressors."
        ),
    ] = None,
    keyframes: Annotated[
        bool, typer.Option("--keyframes", help="Row: the key frames alone, in one pass, with the model's compressors.")
    ] = False,
    tau: Annotated[
        list[float] | None,
        typer.Option(
            "--tau",
            metavar="RATIO",
            callback=finite,
            help="A row of --sfc for each compression ratio given (at least 1).",
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="Row: any strategy by its name, such as dense10x1, sgs+sfc, sfc-tau4 or uniform8x32; of another model "
            "as whole@x3d_m or whole@hf:OWNER/NAME.",
            autocompletion=complete_strategies,
        ),
    ] = None,
    output_format: Annotated[ComparisonFormat, typer.Option("--format", help="How to print.")] = ComparisonFormat.TABLE,
    save: Annotated[Path | None, typer.Option("--save", help="Write a report to this .html file.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw quality against GMACs and time to this .png file (needs the extra 'plots')."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of timing, at most.")] = 5,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=0.0,
            callback=finite,
            help="Time limit for the rounds; one always runs.",
        ),
    ] = 300.0,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights", help="Use random weights. It happens on its own, with a note, if the model has none."
        ),
    ] = False,
    device: opt.Device = opt.DeviceChoice.AUTO,
    decode_timeout: opt.DecodeTimeout = None,
    decoder: opt.Decoder = opt.DecoderChoice.AUTO,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Compare strategies with dense sampling: how good, how fast, how large.

    Rows are chosen by options; without any they are --dense 30 and the model's own compressors.

    Columns. [b]views x frames[/b]: forward passes per video and frames entering each. [b]GMACs[/b]:
    multiply-accumulates per video, in thousands of millions. [b]params[/b]: all parameters. [b]model ms/video[/b]: the
    model alone on decoded frames, median of the rounds (least-greatest); [b]videos/s[/b] is 1000 over it. [b]end to
    end/s[/b]: videos per second with decoding. [b]peak MB[/b]: memory above the loaded model while a video is
    classified (CUDA's allocator, or this process). [b]fit at once[/b]: videos in flight that memory holds (CUDA:
    searched; CPU: memory over the peak). [b]J/video[/b]: energy of the model alone (NVML or RAPL), if it can be read.
    [b]top-1, top-5[/b]: share of labeled videos whose class is the best label, or among the best five. [b]agrees[/b]:
    share of videos whose best label is the dense row's. Below each row are its ratios to the first dense row: how many
    times better, so above 1 is always better.

    First, every row passes every video once, which warms up and gives labels and memory. Then the rows are timed in
    turns, round by round, on at most 8 of the videos, or fewer if they are slow. A ratio that the rounds cannot tell
    from 1 is marked. docs/compare.md says more.

    The exit code is 0 if everything was measured, 1 if a video or a row could not be, 2 for wrong usage, 130 if
    interrupted, 143 if terminated. An interrupt prints the rows measured so far.
    """
    with reported(debug=debug), ExitStack() as stack:
        if save is not None:
            check_file("--save", save, ".html")
        if plot is not None:
            check_file("--plot", plot, ".png")
        loading(model, device.value, quiet=quiet)
        from vidcomp.cli.terminal import download_progress
        from vidcomp.evaluation.evaluator import Evaluator
        from vidcomp.inference.classifier import Classifier
        from vidcomp.inference.in_progress import noted_in_cache

        strategies = _strategies(
            dense=dense or [],
            whole=whole,
            sfc=sfc,
            taus=tau or [],
            sgs=sgs,
            bitstream=bitstream,
            uniform=uniform or [],
            keyframes=keyframes,
            named=strategy or [],
        )
        stop = stack.enter_context(stop_signals())
        in_progress = stack.enter_context(noted_in_cache("compare", (*(paths or ()), model, *strategies)))
        videos = _videos(paths or [], null=null, quiet=quiet)
        try:
            with download_progress(quiet=quiet) as progress:
                evaluator = Evaluator(
                    model,
                    videos,
                    strategies,
                    rounds=rounds,
                    seconds=seconds,
                    device=device.value,
                    random_weights=random_weights,
                    classifier=partial(Classifier, decode_timeout_s=decode_timeout, decoder=decoder.value),
                    tell=(lambda note: None) if quiet else warn,
                    progress=progress,
                    in_progress=in_progress,
                )
        except ValueError as error:
            raise UsageError(str(error)) from None
        with evaluator:
            comparison = _measure(evaluator, quiet=quiet)
            _render(comparison, output_format, save=save, plot=plot, told=not quiet)
        if comparison.interrupted:
            raise typer.Exit(Stopped(stop.number).exit_code if stop.number else INTERRUPTED)
        if comparison.failed:
            raise typer.Exit(SOME_FAILED)


def _strategies(
    *,
    dense: list[int],
    whole: bool,
    sfc: bool,
    taus: list[float],
    sgs: bool,
    bitstream: bool,
    uniform: list[int],
    keyframes: bool,
    named: list[str],
) -> list[str]:
    """Names of the rows asked for, dense ones first; none if none were asked for."""
    names = [f"dense{views}" for views in dense]
    names += ["whole"] if whole else []
    names += [f"sfc-tau{ratio:g}" for ratio in taus] if taus else ["sfc"] if sfc else []
    names += ["sgs"] if sgs else []
    names += ["bitstream"] if bitstream else []
    names += [f"uniform{clips}" for clips in uniform]
    names += ["keyframes"] if keyframes else []
    return list(dict.fromkeys([*names, *named]))


def _videos(paths: list[str], *, null: bool, quiet: bool) -> list[LabeledVideo]:
    from vidcomp.video.labeled import find_labeled

    videos, notes = find_labeled(paths, stdin=sys.stdin.buffer, null=null)
    for note in notes if not quiet else ():
        warn(note)
    if paths and not videos:
        raise UsageError(f"no videos in {', '.join(paths)}: name a file, or a folder that holds videos")
    return videos


def _measure(evaluator: Evaluator, *, quiet: bool) -> Comparison:
    """Run it; an interruption ends it early, with what there is."""
    from vidcomp.cli.terminal import video_progress

    try:
        with video_progress(evaluator.steps, quiet=quiet) as advance:
            evaluator.run(advance)
    except KeyboardInterrupt:
        warn("interrupted: the rows measured so far follow", prefix="error")
    return evaluator.comparison()


def _render(
    comparison: Comparison, chosen: ComparisonFormat, *, save: Path | None, plot: Path | None, told: bool
) -> None:
    from vidcomp.output.comparison import WRITERS

    # Notes that a terminal shows already need not stand below the table too.
    seen = told and chosen is ComparisonFormat.TABLE and sys.stdout.isatty() and sys.stderr.isatty()
    WRITERS[chosen.value](replace(comparison, notes=()) if seen else comparison, sys.stdout)
    sys.stdout.flush()
    if save is not None:
        from vidcomp.output.html import comparison_page

        write_file("--save", save, lambda: comparison_page(comparison).encode("utf-8"))
    if plot is not None:
        from vidcomp.output.plots import comparison_picture

        write_file("--plot", plot, lambda: comparison_picture(comparison))
