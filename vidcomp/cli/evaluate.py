"""`vidcomp evaluate`: accuracy and cost of a model on a labelled folder."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vidcomp.cli.classify import DeviceChoice, PrecisionChoice
from vidcomp.cli.compiling import compile_model
from vidcomp.cli.errors import SOME_FAILED, UsageError, reported, warn

if TYPE_CHECKING:
    from vidcomp.inference.prediction import Prediction
    from vidcomp.inference.strategies import Strategy
    from vidcomp.measure.accuracy import Evaluation


class EvaluationFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"


def evaluate(
    folder: Path = typer.Argument(help="A folder with a sub-folder of videos for each class."),
    model: str = typer.Option("ucf16-lite0", "--model", help="A model's name, or the path of a YAML manifest."),
    strategy: str = typer.Option(
        "sfc",
        "--strategy",
        help="whole (no compression), the kind of the model's compressor (such as sfc), dense30 (clips x 3 crops of "
        "the uncompressed network), or uniform8 (clips of an untrimmed video).",
    ),
    tau: float | None = typer.Option(None, "--tau", help="Compression ratio of SFC (at least 1)."),
    device: DeviceChoice = typer.Option(DeviceChoice.AUTO, "--device", help="Where the model runs."),
    precision: PrecisionChoice = typer.Option(
        PrecisionChoice.AUTO,
        "--precision",
        help="What the model computes in; auto is fp32 on a CPU, bf16 or fp16 on CUDA.",
    ),
    compiled: bool = typer.Option(False, "--compile", help="Compile the model first: pays for hundreds of videos."),
    decode_workers: int | None = typer.Option(
        None,
        "--decode-workers",
        min=1,
        help="Processes that decode the next videos meanwhile; by default one for every two cores.",
    ),
    output_format: EvaluationFormat = typer.Option(EvaluationFormat.TABLE, "--format", help="How to print."),
    quiet: bool = typer.Option(False, "--quiet", help="No progress and no warnings."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Measure a model on labelled videos: top-1, top-5, accuracy by class, calibration, GMACs a video.

    Videos that cannot be read are left out of the shares, named on standard error, and make the exit code 1.
    """
    with reported(debug=debug):
        compressor, passing = _parse(strategy)
        from vidcomp.cli.progress import download_progress, video_progress
        from vidcomp.inference.engine import Classifier
        from vidcomp.measure.accuracy import LabelledFolderError, labelled_folder
        from vidcomp.measure.accuracy import evaluate as measure
        from vidcomp.zoo.build import Variant, load_model

        with download_progress(quiet=quiet) as progress:
            loaded = load_model(model, Variant(compressor, tau), progress)
        try:
            videos = labelled_folder(folder, loaded.labels)
        except LabelledFolderError as error:
            raise UsageError(str(error)) from None

        try:
            built = Classifier(
                loaded,
                device=device.value,
                strategy=passing,
                decode_workers=decode_workers,
                precision=precision.value,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        if compiled:
            compile_model(built, quiet=quiet)
        with built as classifier, video_progress(len(videos), quiet=quiet) as advance:

            def done(prediction: Prediction) -> None:
                if prediction.error is not None:
                    warn(prediction.error.message, prefix="error")
                advance(prediction.path)

            evaluation = measure(classifier, videos, done)
        if output_format is EvaluationFormat.JSON:
            print(json.dumps({**evaluation.as_dict(), "strategy": strategy, "model": loaded.manifest.name}, indent=2))
        else:
            _print(evaluation, strategy, loaded.manifest.name)
        if evaluation.failed:
            raise typer.Exit(SOME_FAILED)


def _parse(strategy: str) -> tuple[str | None, Strategy | None]:
    """A strategy's name to the compressor to build and the way to pass a video."""
    from vidcomp.inference.strategies import DenseViews, UniformClips, WholeVideo

    if strategy == "whole":
        return "none", WholeVideo()
    if match := re.fullmatch(r"dense(\d+)", strategy):
        views = int(match[1])
        if views < 3 or views % 3:
            raise UsageError(f"--strategy {strategy}: dense views are clips x 3 crops, such as dense30 or dense3")
        return "none", DenseViews(clips=views // 3, crops=3)
    if match := re.fullmatch(r"uniform([1-9]\d*)", strategy):
        return None, UniformClips(clips=int(match[1]))
    return strategy, WholeVideo()


def _print(evaluation: Evaluation, strategy: str, model: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"[bold]{model}[/bold], {strategy}: {evaluation.videos} videos, top-1 {evaluation.top1:.1%}, "
        f"top-5 {evaluation.top5:.1%}, calibration error {evaluation.calibration_error:.3f}, "
        f"{evaluation.gmacs_mean:.1f} GMACs a video"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("class", "right", "most often taken for"):
        table.add_column(heading)
    for index, label in enumerate(evaluation.labels):
        row = evaluation.confusion[index].copy()
        if not row.sum():
            continue
        right = f"{row[index] / row.sum():.0%} of {row.sum()}"
        row[index] = 0
        wrong = f"{evaluation.labels[int(row.argmax())]} ({row.max()})" if row.any() else ""
        table.add_row(label, right, wrong)
    console.print(table)
