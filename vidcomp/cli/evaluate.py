"""`vidcomp evaluate`: accuracy and cost of a model on a labelled folder."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.compiling import compile_model
from vidcomp.cli.computing import (
    BATCH,
    COMPILE,
    DECODE_WORKERS,
    DEVICE,
    MAX_DAMAGE,
    PRECISION,
    STRATEGY,
    DeviceChoice,
    PrecisionChoice,
)
from vidcomp.cli.errors import INTERRUPTED, SOME_FAILED, UsageError, reported, warn

if TYPE_CHECKING:
    from vidcomp.evaluation.accuracy import Evaluation
    from vidcomp.inference.strategies import Strategy
    from vidcomp.zoo.build import LoadedModel


class EvaluationFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"


def evaluate(
    folder: Path = typer.Argument(
        help="A folder with a sub-folder of videos for each class, or a CSV file of path,label."
    ),
    model: str = typer.Option(DEFAULT_MODEL, "--model", help="A model's name, or the path of a YAML manifest."),
    strategy: str | None = STRATEGY,
    tau: float | None = typer.Option(None, "--tau", help="Compression ratio of SFC (at least 1)."),
    agreement: bool = typer.Option(
        False, "--agreement", help="Also take every video by dense30, and tell how often both say the same."
    ),
    confusion: list[Path] = typer.Option(
        [],
        "--confusion",
        metavar="FILE",
        help="Write which class is taken for which, to a .csv file or as a picture to a .png file (needs the extra "
        "'plots'); may be repeated.",
    ),
    device: DeviceChoice = DEVICE,
    precision: PrecisionChoice = PRECISION,
    compiled: bool = COMPILE,
    decode_workers: int | None = DECODE_WORKERS,
    batch: int | None = BATCH,
    max_damage: float = MAX_DAMAGE,
    output_format: EvaluationFormat = typer.Option(EvaluationFormat.TABLE, "--format", help="How to print."),
    quiet: bool = typer.Option(False, "--quiet", help="No progress and no warnings."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Measure a model on labelled videos: top-1, top-5, accuracy by class, calibration, GMACs a video.

    Videos that cannot be read are left out of the shares, named on standard error, and make the exit code 1. Ctrl-C
    ends it with what was measured until then, and exit code 130.
    """
    with reported(debug=debug):
        from vidcomp.inference.grammar import StrategyError, parse_strategy

        try:
            named, dense30 = parse_strategy(strategy, tau=tau), parse_strategy("dense30")
        except StrategyError as error:
            raise UsageError(f"--strategy {error}") from None
        if agreement and named == dense30:
            raise UsageError("--agreement compares with dense30, which is what --strategy asks for already")
        _check_files(confusion)
        from vidcomp.cli.progress import download_progress, video_progress
        from vidcomp.evaluation.accuracy import Evaluator, labelled_folder
        from vidcomp.inference.classifier import Classifier
        from vidcomp.inference.strategies import WholeVideo
        from vidcomp.video.labeled import LabelError
        from vidcomp.zoo.build import load_model

        with download_progress(quiet=quiet) as progress:
            loaded = load_model(model, named.variant, progress)
        try:
            videos = labelled_folder(folder, loaded.labels)
        except LabelError as error:
            raise UsageError(str(error)) from None

        def classifier_of(model: LoadedModel, passing: Strategy | None) -> Classifier:
            try:
                made = Classifier(
                    model,
                    device=device.value,
                    strategy=passing,
                    decode_workers=decode_workers,
                    precision=precision.value,
                    batch=batch,
                    max_damage=max_damage / 100,
                )
            except ValueError as error:
                raise UsageError(str(error)) from None
            if compiled:
                compile_model(made, quiet=quiet)
            return stack.enter_context(made)

        manifest = loaded.manifest
        with ExitStack() as stack:
            classifier = classifier_of(loaded, named.strategy or WholeVideo())
            del loaded  # the classifier has a network of its own
            dense = classifier_of(load_model(model, dense30.variant), dense30.strategy) if agreement else None
            evaluator = Evaluator(classifier, dense)
            interrupted = False
            with video_progress(len(videos), quiet=quiet) as advance:
                try:
                    for prediction in evaluator.add_all(videos):
                        if prediction.error is not None:
                            warn(prediction.error.message, prefix="error")
                        advance(prediction.path)
                except KeyboardInterrupt:
                    interrupted = True
            evaluation = evaluator.result()
        if interrupted:
            done = evaluation.videos + len(evaluation.failed)
            warn(f"interrupted: what follows is of {done} of {len(videos)} videos", prefix="error")
        name = manifest.name
        shown = named.name(manifest)
        if output_format is EvaluationFormat.JSON:
            answer = {**evaluation.as_dict(), "strategy": shown, "model": name, "complete": not interrupted}
            print(json.dumps(answer, indent=2))
        else:
            _print(evaluation, shown, name)
        for file in confusion:
            _write_confusion(file, evaluation, f"{name}, {shown}: {evaluation.videos} videos")
        if interrupted:
            raise typer.Exit(INTERRUPTED)
        if evaluation.failed:
            raise typer.Exit(SOME_FAILED)


def _check_files(files: list[Path]) -> None:
    """Find out before the measuring, not after it, that a file cannot be written."""
    for path in files:
        if path.suffix.lower() not in (".csv", ".png"):
            raise UsageError(f"--confusion {path}: give a file that ends in .csv or .png")
        if not path.parent.is_dir():
            raise UsageError(f"--confusion {path}: there is no folder {path.parent}; choose another file")
        if path.suffix.lower() == ".png":
            from vidcomp.output.plotting import HINT, available

            if not available():
                raise UsageError(f"--confusion {path}: {HINT}")


def _write_confusion(path: Path, evaluation: Evaluation, title: str) -> None:
    from vidcomp.output.confusion import confusion_csv, confusion_png
    from vidcomp.output.plotting import PictureError

    try:
        if path.suffix.lower() == ".csv":
            data = confusion_csv(evaluation.confusion, evaluation.labels)
        else:
            data = confusion_png(evaluation.confusion, evaluation.labels, title)
        path.write_bytes(data)
    except PictureError as error:
        warn(f"--confusion {path}: {error}")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def _print(evaluation: Evaluation, strategy: str, model: str) -> None:
    from vidcomp.output.tables import console_of, print_table

    console = console_of(sys.stdout)
    console.print(
        f"{model}, {strategy}: {evaluation.videos} videos, top-1 {evaluation.top1:.1%}, "
        f"top-5 {evaluation.top5:.1%}, calibration error {evaluation.calibration_error:.3f}, "
        f"{evaluation.gmacs_mean:.1f} GMACs a video"
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
