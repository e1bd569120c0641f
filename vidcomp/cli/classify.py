"""`vidcomp classify`: label videos, folders of videos, or a list of them."""

from __future__ import annotations

from pathlib import Path

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.computing import (
    BATCH,
    COMPILE,
    DECODE_WORKERS,
    DEVICE,
    HOW,
    MAX_DAMAGE,
    PRECISION,
    STRATEGY,
    DeviceChoice,
    PrecisionChoice,
)
from vidcomp.cli.errors import reported
from vidcomp.cli.request import Finding, OutputFormat, Passing, PathsChoice, Request, Showing, Writing

_WHICH, _WHERE, _LOOK = "Which videos", "Where labels go", "What was looked at"


def classify(
    paths: list[str] = typer.Argument(
        None,
        metavar="PATH...",
        help="Video files, folders (searched recursively), globs, or - for a list of paths on standard input.",
    ),
    files_from: list[str] = typer.Option(
        [], "--files-from", help="A file that lists paths, one per line; none is a pattern.", rich_help_panel=_WHICH
    ),
    null: bool = typer.Option(
        False, "--null", "-0", help="NUL separates the paths of lists, as after find -print0.", rich_help_panel=_WHICH
    ),
    all_files: bool = typer.Option(
        False, "--all-files", help="Try every file of a folder, whatever its extension.", rich_help_panel=_WHICH
    ),
    include: list[str] = typer.Option(
        [], "--include", help="Only videos whose name, folder or relative path matches.", rich_help_panel=_WHICH
    ),
    exclude: list[str] = typer.Option([], "--exclude", help="No videos that match.", rich_help_panel=_WHICH),
    shard: str | None = typer.Option(
        None, "--shard", metavar="I/N", help="Only share I of N, the same on every machine.", rich_help_panel=_WHICH
    ),
    limit: int | None = typer.Option(
        None, "--limit", min=1, help="Only the first so many videos.", rich_help_panel=_WHICH
    ),
    allow_urls: bool = typer.Option(
        False,
        "--allow-urls",
        help="Take http and https addresses for videos: each is fetched into a temporary file first.",
        rich_help_panel=_WHICH,
    ),
    model: str = typer.Option(
        DEFAULT_MODEL, "--model", help="A model's name, or the path of a YAML manifest.", rich_help_panel=HOW
    ),
    compressor: str | None = typer.Option(
        None,
        "--compressor",
        metavar="sfc|sgs|sgs+sfc|none",
        help="The model's compressor or that of a sibling it names; none passes the whole video through the tail.",
        rich_help_panel=HOW,
    ),
    tau: float | None = typer.Option(None, "--tau", help="Compression ratio of SFC (at least 1).", rich_help_panel=HOW),
    strategy: str | None = STRATEGY,
    only: list[str] = typer.Option(
        [], "--only", metavar="LABEL", help="Choose among these labels alone; give it for each.", rich_help_panel=HOW
    ),
    only_file: Path | None = typer.Option(
        None,
        "--only-file",
        metavar="FILE",
        help="Choose among the labels in this file, one a line.",
        rich_help_panel=HOW,
    ),
    clips: int | None = typer.Option(
        None,
        "--clips",
        min=1,
        help="Pass this many clips spread over the video instead of all of it.",
        rich_help_panel=HOW,
    ),
    clip_frames: int | None = typer.Option(
        None, "--clip-frames", min=1, help="Source frames of each clip with --clips (128).", rich_help_panel=HOW
    ),
    every: str | None = typer.Option(
        None,
        "--every",
        metavar="TIME",
        help="Label consecutive windows of each video, so far apart: 10s.",
        rich_help_panel=HOW,
    ),
    window: str | None = typer.Option(
        None,
        "--window",
        metavar="TIME",
        help="Length of a window, if longer than --every: they overlap.",
        rich_help_panel=HOW,
    ),
    device: DeviceChoice = DEVICE,
    precision: PrecisionChoice = PRECISION,
    compile_model: bool = COMPILE,
    decode_workers: int | None = DECODE_WORKERS,
    batch: int | None = BATCH,
    decode_timeout: float | None = typer.Option(
        None,
        "--decode-timeout",
        min=0.1,
        help="Seconds that decoding one video may take; by default scaled to it.",
        rich_help_panel=HOW,
    ),
    max_damage: float = MAX_DAMAGE,
    output: Path | None = typer.Option(
        None,
        "--output",
        help="Write to this file instead of standard output; run again, what is in it is not done again.",
        rich_help_panel=_WHERE,
    ),
    output_format: OutputFormat | None = typer.Option(
        None,
        "--format",
        help="By default a table, or what --output's extension says. Subtitles (srt, vtt) go beside each video.",
        rich_help_panel=_WHERE,
    ),
    resume: bool = typer.Option(
        True, "--resume/--no-resume", help="Go on with the labels in --output, or start over.", rich_help_panel=_WHERE
    ),
    retry_errors: bool = typer.Option(
        False, "--retry-errors", help="Do videos again that failed in an earlier run.", rich_help_panel=_WHERE
    ),
    top_k: int = typer.Option(5, "--top-k", min=1, help="Labels to give for each video.", rich_help_panel=_WHERE),
    min_probability: float = typer.Option(
        0.0, "--min-probability", min=0.0, max=1.0, help="Leave out less probable labels.", rich_help_panel=_WHERE
    ),
    paths_as: PathsChoice = typer.Option(
        PathsChoice.RELATIVE.value,
        "--paths",
        help="How results name videos: relative to the folder in --output and as given elsewhere, or absolute.",
        rich_help_panel=_WHERE,
    ),
    move_to: Path | None = typer.Option(
        None,
        "--move-to",
        metavar="DIR",
        help="Move each labelled video to DIR/LABEL; never overwrites.",
        rich_help_panel=_WHERE,
    ),
    link_to: Path | None = typer.Option(
        None, "--link-to", metavar="DIR", help="Link each labelled video in DIR/LABEL.", rich_help_panel=_WHERE
    ),
    explain: Path | None = typer.Option(
        None,
        "--explain",
        metavar="DIR",
        help="Draw each video's attention over a film strip to DIR, as PNG, with its numbers (.npz). Needs matplotlib.",
        rich_help_panel=_LOOK,
    ),
    explain_video: bool = typer.Option(
        False,
        "--explain-video",
        help="With --explain: a copy of each video (MP4) with its attention under the picture.",
        rich_help_panel=_LOOK,
    ),
    report: Path | None = typer.Option(
        None,
        "--report",
        metavar="FILE.html",
        help="One page with every video's frames, attention and labels, to sort and filter in a browser.",
        rich_help_panel=_LOOK,
    ),
    quiet: bool = typer.Option(
        False, "--quiet", help="No progress, no warnings and no summary.", rich_help_panel=_WHERE
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Label videos: their most probable actions, in one pass over each.

    Results go to standard output or --output, progress, warnings and the summary to standard error. The exit code is 0
    if every video was labelled, 1 if some failed, 2 for wrong usage or an output that cannot be written, 130 if
    interrupted, 143 if terminated.
    """
    with reported(debug=debug):
        from vidcomp.cli.batch import run

        request = Request(
            Finding(
                tuple(paths or ()),
                tuple(files_from),
                all_files,
                tuple(include),
                tuple(exclude),
                shard,
                limit,
                allow_urls,
                null,
            ),
            Passing(
                model,
                compressor,
                tau,
                device.value,
                clips,
                clip_frames,
                every,
                window,
                decode_timeout,
                decode_workers,
                precision.value,
                compile_model,
                batch,
                strategy,
                max_damage / 100,
                tuple(only),
                only_file,
            ),
            Writing(
                output,
                output_format,
                top_k,
                min_probability,
                resume,
                retry_errors,
                move_to,
                link_to,
                quiet,
                debug,
                paths_as,
            ),
            Showing(explain, explain_video, report),
        )
        if code := run(request):
            raise typer.Exit(code)
