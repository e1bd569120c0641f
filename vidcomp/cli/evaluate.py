"""`vidcomp evaluate`: accuracy and cost of a model on a labeled folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli import options as opt
from vidcomp.cli.errors import INTERRUPTED, SOME_FAILED, Stopped, UsageError, reported, stop_signals
from vidcomp.cli.files import check_file, write_file
from vidcomp.cli.scale import ActorCount, ActorCpus, ActorGpus, Engine, EngineOptions, evaluating, portable_name
from vidcomp.cli.terminal import compile_model, loading, warn
from vidcomp.files import counted

if TYPE_CHECKING:
    from vidcomp.evaluation.accuracy import Evaluation
    from vidcomp.inference.grammar import NamedStrategy
    from vidcomp.video import VideoSelection
    from vidcomp.video.labeled import LabeledVideo


class EvaluationFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"


def evaluate(
    folder: Annotated[Path, opt.LABELED],
    model: opt.Model = DEFAULT_MODEL,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    strategy: opt.Strategy = None,
    tau: opt.Tau = None,
    agreement: Annotated[
        bool,
        typer.Option("--agreement", help="Also label every video with dense30, and report how often the two agree."),
    ] = False,
    confusion: Annotated[
        list[Path] | None,
        typer.Option(
            "--confusion",
            metavar="FILE",
            help="Write the confusion matrix to a .csv file, or draw it to a .png file (needs the extra 'plots'); "
            "may be repeated.",
        ),
    ] = None,
    device: opt.Device = opt.DeviceChoice.AUTO,
    precision: opt.Precision = opt.PrecisionChoice.AUTO,
    compiled: opt.Compile = False,
    decode_workers: opt.DecodeWorkers = None,
    batch: opt.Batch = None,
    max_damage: opt.MaxDamage = 50.0,
    decoder: opt.Decoder = opt.DecoderChoice.AUTO,
    engine: Engine = None,
    actors: ActorCount = None,
    actor_cpus: ActorCpus = None,
    actor_gpus: ActorGpus = None,
    output_format: Annotated[EvaluationFormat, typer.Option("--format", help="How to print.")] = EvaluationFormat.TABLE,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Measure a model on labeled videos: top-1, top-5, accuracy per class, calibration, GMACs per video.

    Videos that cannot be read are named on standard error and left out, and the exit code is 1. Ctrl-C prints what was
    measured so far; the exit code is then 130 (143 if terminated).
    """
    with reported(debug=debug), ExitStack() as stack:
        for file in confusion or ():
            check_file("--confusion", file, ".csv", ".png")
        loading(model, device.value, quiet=quiet)
        from vidcomp.cli.terminal import download_progress, video_progress
        from vidcomp.evaluation.evaluator import Evaluator
        from vidcomp.inference.classifier import Classifier
        from vidcomp.inference.in_progress import noted_in_cache
        from vidcomp.video import VideoSelection

        on = EngineOptions(engine=engine, actors=actors, cpus=actor_cpus, gpus=actor_gpus)
        for option in (name for name, asked in {"--agreement": agreement, "--compile": compiled}.items() if asked):
            if engine is not None:
                raise UsageError(f"{option}: not with --engine ray; leave one of them out")
        # Ray has its own idea of what a request to terminate does, so it comes before ours.
        make: Callable[..., Classifier] = Classifier if engine is None else evaluating(on.connect(device.value))
        model = model if engine is None else portable_name(model)
        stop = stack.enter_context(stop_signals())
        asked = (str(folder), model, str(strategy), str(tau), str(agreement))
        in_progress = stack.enter_context(noted_in_cache("evaluate", asked))
        try:
            strategies = _strategies(strategy, tau=tau, agreement=agreement)
            videos = _videos(folder, model, VideoSelection(tuple(include or ()), tuple(exclude or ())), quiet=quiet)
            with download_progress(quiet=quiet) as progress:
                evaluator = Evaluator(
                    model,
                    videos,
                    strategies,
                    rounds=0,
                    device=device.value,
                    strict=True,
                    classifier=partial(
                        make,
                        precision=precision.value,
                        decode_workers=decode_workers,
                        batch=batch,
                        max_damage=max_damage / 100,
                        decoder=decoder.value,
                    ),
                    tell=partial(warn, prefix="error"),
                    progress=progress,
                    in_progress=in_progress,
                )
        except ValueError as error:
            raise UsageError(str(error)) from None
        with evaluator:
            for run in evaluator.runs if compiled else ():
                compile_model(run.classifier, quiet=quiet)
            with video_progress(evaluator.steps, quiet=quiet) as advance, suppress(KeyboardInterrupt):
                evaluator.run(advance)
        evaluation = evaluator.evaluation()
        if evaluator.interrupted:
            done = evaluation.videos + evaluation.failed
            warn(f"interrupted: what follows is of {done} of {counted(len(videos), 'video')}", prefix="error")
        if output_format is EvaluationFormat.JSON:
            print(json.dumps({**evaluation.as_dict(), "complete": not evaluator.interrupted}, indent=2))
        else:
            _print(evaluation)
        for file in confusion or ():
            write_file("--confusion", file, partial(_confusion, evaluation, file.suffix.lower()))
        if evaluator.interrupted:
            raise typer.Exit(Stopped(stop.number).exit_code if stop.number else INTERRUPTED)
        if evaluation.failed:
            raise typer.Exit(SOME_FAILED)


def _strategies(strategy: str | None, *, tau: float | None, agreement: bool) -> list[NamedStrategy]:
    """What was asked for, and dense30 beside it for the agreement."""
    from vidcomp.inference.grammar import StrategyError, parse_strategy

    dense30 = parse_strategy("dense30")
    try:
        named = parse_strategy(strategy, tau=tau)
    except StrategyError as error:
        raise UsageError(f"--strategy {error}") from None
    if agreement and named == dense30:
        raise UsageError("--agreement compares with dense30, which is what --strategy asks for already")
    return [named, dense30] if agreement else [named]


def _videos(folder: Path, model: str, selection: VideoSelection, *, quiet: bool) -> list[LabeledVideo]:
    """The videos that are asked for; those of a class that the model does not know are left out, with a remark."""
    from vidcomp.video.labeled import check_labeled, find_labeled, keep_known
    from vidcomp.zoo.labels import labels_of
    from vidcomp.zoo.manifest import find_manifest

    videos, notes = find_labeled([str(folder)])
    for note in notes if not quiet else ():
        warn(note)
    root = folder if folder.is_dir() else folder.parent
    videos = [video for video in videos if selection.wants(os.path.relpath(video.path, root))]
    labels = labels_of(find_manifest(model))
    known, remarks = keep_known(videos, labels)
    if remarks and any(video.label is not None for video in known):
        for remark in remarks if not quiet else ():
            warn(remark)
        videos = [after for before, after in zip(videos, known, strict=True) if before.label == after.label]
    check_labeled(str(folder), videos, labels)
    return videos


def _confusion(evaluation: Evaluation, extension: str) -> bytes:
    from vidcomp.output.plots import confusion_csv, confusion_png

    if extension == ".csv":
        return confusion_csv(evaluation.confusion, evaluation.labels)
    title = f"{evaluation.model}, {evaluation.strategy}: {counted(evaluation.videos, 'video')}"
    return confusion_png(evaluation.confusion, evaluation.labels, title)


def _print(evaluation: Evaluation) -> None:
    from vidcomp.output.terminal import console_of, print_table, print_text

    console = console_of(sys.stdout)
    print_text(
        console,
        f"{evaluation.model}, {evaluation.strategy}: {counted(evaluation.videos, 'video')}, "
        f"top-1 {evaluation.top1:.1%}, "
        f"top-5 {evaluation.top5:.1%}, calibration error {evaluation.calibration_error:.3f}, "
        f"{evaluation.gmacs_mean:.1f} GMACs per video"
        + (f", agrees with dense30 on {evaluation.agreement:.1%}" if evaluation.agreement is not None else ""),
    )
    rows = []
    for index, label in enumerate(evaluation.labels):
        row = evaluation.confusion[index].copy()
        if not row.sum():
            continue
        right = f"{row[index] / row.sum():.0%} of {row.sum()}"
        row[index] = 0
        rows.append((label, right, f"{evaluation.labels[int(row.argmax())]} ({row.max()})" if row.any() else ""))
    print_table(console, ("class", "right", "most often taken for"), rows)
