"""`vidcomp classify`: label videos, folders of videos, or a list of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli import options as opt
from vidcomp.cli.errors import reported
from vidcomp.cli.options import finite, how, where, which
from vidcomp.cli.scale import ActorCount, ActorCpus, ActorGpus, Engine, EngineOptions
from vidcomp.cli.terminal import loading, log_file

if TYPE_CHECKING:
    from vidcomp.video import DecodePool

_look = partial(typer.Option, rich_help_panel="Pictures and reports")


def classify(
    paths: Annotated[list[str] | None, opt.PATHS] = None,
    files_from: opt.FilesFrom = None,
    null: opt.Null = False,
    all_files: Annotated[
        bool, which("--all-files", help="Try every file of a folder, whatever its extension.")
    ] = False,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    shard: Annotated[
        str | None, which("--shard", metavar="I/N", help="Only share I of N, which is the same on every machine.")
    ] = None,
    limit: opt.Limit = None,
    allow_urls: Annotated[
        bool,
        which(
            "--allow-urls",
            help="Accept http and https addresses: each video is fetched into a temporary file first.",
        ),
    ] = False,
    model: opt.Model = DEFAULT_MODEL,
    compressor: Annotated[
        str | None,
        how(
            "--compressor",
            metavar="sfc|sgs|sgs+sfc|none",
            help="Use another of the model's compressors; none passes every frame through the tail.",
        ),
    ] = None,
    tau: opt.Tau = None,
    strategy: opt.Strategy = None,
    only: Annotated[
        list[str] | None, how("--only", metavar="LABEL", help="Choose among these labels only; repeat it for each.")
    ] = None,
    only_file: Annotated[
        Path | None, how("--only-file", metavar="FILE", help="Choose among the labels in this file, one per line.")
    ] = None,
    clips: Annotated[
        int | None, how("--clips", min=1, help="Pass this many clips, spread over the video, instead of all of it.")
    ] = None,
    clip_frames: Annotated[
        int | None, how("--clip-frames", min=1, help="Source frames per clip, with --clips (128).")
    ] = None,
    every: Annotated[
        str | None,
        how("--every", metavar="TIME", help="Label consecutive windows that start this far apart, such as 10s."),
    ] = None,
    moments: Annotated[
        bool, how("--moments", help="Also find when each action happens: several, one or none per video.")
    ] = False,
    window: opt.Window = None,
    device: opt.Device = opt.DeviceChoice.AUTO,
    precision: opt.Precision = opt.PrecisionChoice.AUTO,
    compile_model: opt.Compile = False,
    decode_workers: opt.DecodeWorkers = None,
    batch: opt.Batch = None,
    decode_timeout: opt.DecodeTimeout = None,
    max_damage: opt.MaxDamage = 50.0,
    decoder: opt.Decoder = opt.DecoderChoice.AUTO,
    output: Annotated[
        Path | None,
        where(
            "--output",
            "-o",
            help="Write to this file instead of standard output. The next run skips what is done.",
        ),
    ] = None,
    output_format: Annotated[
        opt.OutputFormat | None,
        where(
            "--format",
            help="By default a table, or what --output's extension says. Subtitles (srt, vtt) and chapters "
            "(ffmetadata) go beside each video.",
        ),
    ] = None,
    resume: opt.Resume = True,
    retry_errors: opt.RetryErrors = False,
    top_k: Annotated[int, where("--top-k", min=1, help="Labels to show per video.")] = 5,
    min_probability: Annotated[
        float, where("--min-probability", min=0.0, max=1.0, callback=finite, help="Leave out less probable labels.")
    ] = 0.0,
    paths_as: opt.PathsAs = opt.PathsChoice.RELATIVE,
    move_to: Annotated[
        Path | None, where("--move-to", metavar="DIR", help="Move each labeled video to DIR/LABEL; never overwrites.")
    ] = None,
    link_to: Annotated[
        Path | None, where("--link-to", metavar="DIR", help="Link each labeled video in DIR/LABEL.")
    ] = None,
    cut: Annotated[
        Path | None,
        where(
            "--cut",
            metavar="DIR",
            help="With --moments: copy each moment to a file in DIR, from the key frame before it.",
        ),
    ] = None,
    cut_exact: Annotated[
        bool,
        where("--cut-exact", help="With --cut: re-encode exactly the moment's frames, without sound."),
    ] = False,
    explain: Annotated[
        Path | None,
        _look(
            "--explain",
            metavar="DIR",
            help="Write a picture of each video's attention to DIR (.png), with its numbers (.npz). Needs matplotlib.",
        ),
    ] = None,
    explain_video: Annotated[
        bool,
        _look(
            "--explain-video", help="With --explain: also a copy of each video (.mp4) with its attention drawn below."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        _look(
            "--report",
            metavar="FILE.html",
            help="Write a page of all videos' frames, attention and labels, to sort and filter in a browser.",
        ),
    ] = None,
    engine: Engine = None,
    actors: ActorCount = None,
    actor_cpus: ActorCpus = None,
    actor_gpus: ActorGpus = None,
    dry_run: Annotated[
        bool, where("--dry-run", help="List the videos that would be labeled, and load no model.")
    ] = False,
    log: Annotated[
        Path | None,
        where("--log-file", metavar="FILE", help="Also append all messages to this file, with date and time."),
    ] = None,
    verbose: Annotated[bool, where("--verbose", "-v", help="Print a line per video on standard error.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Label videos with their most probable actions, in one pass over each.

    Examples: [b]vidcomp classify video.mp4[/b], [b]vidcomp classify ./videos -o labels.jsonl --report report.html[/b],
    [b]vidcomp classify match.mp4 --moments[/b].

    Results go to standard output or --output, progress, warnings and the summary to standard error. The exit code is 0
    if every video was labeled, 1 if some failed, 2 for wrong usage or an output that cannot be written, 130 if
    interrupted, 143 if terminated.
    """
    with reported(debug=debug), log_file(log):
        on = EngineOptions(engine=engine, actors=actors, cpus=actor_cpus, gpus=actor_gpus)
        options = opt.ClassifyOptions(
            input=opt.InputOptions(
                paths=tuple(paths or ()),
                lists=tuple(files_from or ()),
                null=null,
                all_files=all_files,
                include=tuple(include or ()),
                exclude=tuple(exclude or ()),
                shard=shard,
                limit=limit,
                allow_urls=allow_urls,
            ),
            model=opt.ModelOptions(
                name=model,
                compressor=compressor,
                tau=tau,
                strategy=strategy,
                only=tuple(only or ()),
                only_file=only_file,
                clips=clips,
                clip_frames=clip_frames,
                every=every,
                window=window,
                moments=moments,
                device=device.value,
                precision=precision.value,
                compile=compile_model,
                decode_workers=decode_workers,
                batch=batch,
                decode_timeout_s=decode_timeout,
                max_damage=max_damage / 100,
                decoder=decoder.value,
            ),
            output=opt.OutputOptions(
                path=output,
                chosen=output_format,
                resume=resume,
                retry_errors=retry_errors,
                top_k=top_k,
                min_probability=min_probability,
                paths=paths_as,
                move_to=move_to,
                link_to=link_to,
                cut=cut,
                cut_exact=cut_exact,
                dry_run=dry_run,
                verbose=verbose,
                quiet=quiet,
                debug=debug,
                in_parts=engine is not None,
            ),
            explain=opt.ExplainOptions(folder=explain, video=explain_video, report=report),
        )
        if not dry_run:
            loading(model, device.value, quiet=quiet)
        if engine is not None and not dry_run:
            from vidcomp.cli import scale

            if code := scale.run(options, on):
                raise typer.Exit(code)
            return
        with nullcontext() if dry_run else _decoders(options.model) as pool:
            from vidcomp.cli.batch import run

            if code := run(options, pool):
                raise typer.Exit(code)


@contextmanager
def _decoders(model: opt.ModelOptions) -> Iterator[DecodePool | None]:
    """Decoding processes that get ready while torch is imported; none where the system starts none now."""
    from vidcomp.video.worker.pool import DecodePool, default_workers
    from vidcomp.video.worker.process import DecoderUnavailable

    try:
        pool = DecodePool(model.decode_workers or default_workers(), timeout_s=model.decode_timeout_s)
    except DecoderUnavailable:
        yield None
        return
    with pool:
        yield pool
