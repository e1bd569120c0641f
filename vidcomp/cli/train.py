"""`vidcomp train`: fit compressors, or a backbone, to your own videos."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.computing import DeviceChoice
from vidcomp.cli.errors import SOME_FAILED, UsageError, fail, reported

if TYPE_CHECKING:
    from vidcomp.training.callbacks import Callbacks
    from vidcomp.training.config import AnyRecipe
    from vidcomp.training.paths import Paths
    from vidcomp.zoo.download import Progress
    from vidcomp.zoo.manifest import Manifest

_DEFAULT = "compressor"
_WHAT, _HOW, _WHERE = "What is fitted", "How (each also a key of --recipe)", "Where it is kept"
_STOPPING = b"\nvidcomp: stopping after this step; once more stops at once\n"


class TrainGroup(TyperGroup):
    """`vidcomp train FOLDER` is short for `vidcomp train compressor FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's name before arguments that name none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the commands, and then the help of the one that is meant where none is named."""
        super().format_help(ctx, formatter)
        default = self.commands[_DEFAULT]
        default.format_help(type(ctx)(default, info_name=f"[{_DEFAULT}]", parent=ctx), formatter)


app = typer.Typer(
    name="train",
    cls=TrainGroup,
    no_args_is_help=True,
    help="Fit a compressor (the default), or a backbone, to your own videos.",
)


class Arithmetic(str, Enum):
    """What may be asked for with --precision."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


_FOLDER = typer.Argument(
    help="A folder with a sub-folder of videos for each class, or a CSV file of path,label. With --teacher, the "
    "videos need no labels."
)
_MODEL = typer.Option(
    DEFAULT_MODEL, "--model", help="A model's name, or the path of a YAML manifest.", rich_help_panel=_WHAT
)
_OUTPUT = typer.Option(
    ..., "--output", help="The manifest (.yaml) to write; weights and log get its name.", rich_help_panel=_WHERE
)
_VAL = typer.Option(
    None, "--val", help="Labelled videos that are not trained on, to judge by after each epoch.", rich_help_panel=_WHAT
)
_RECIPE = typer.Option(
    None, "--recipe", help="A YAML file of the recipe's keys (docs/training.md).", rich_help_panel=_HOW
)
_SET = typer.Option(
    [], "--set", metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.", rich_help_panel=_HOW
)
_EPOCHS = typer.Option(None, "--epochs", min=1, help="Passes over all videos.", rich_help_panel=_HOW)
_BATCH = typer.Option(None, "--batch", min=1, help="Videos to a step.", rich_help_panel=_HOW)
_RATE = typer.Option(None, "--learning-rate", help="The greatest learning rate.", rich_help_panel=_HOW)
_DECAY = typer.Option(None, "--weight-decay", help="Decay of the weights.", rich_help_panel=_HOW)
_SEED = typer.Option(None, "--seed", min=0, help="What all chance follows from.", rich_help_panel=_HOW)
_VIEWS = typer.Option(
    None,
    "--views-cached",
    min=0,
    help="Augmented views of each video whose features are kept on disk; 0: a new one each time.",
    rich_help_panel=_HOW,
)
_PRECISION = typer.Option(
    None,
    "--precision",
    help="float32; bfloat16 (GPU, or a CPU that has it); float16 (GPU).",
    rich_help_panel=_HOW,
)
_CACHE_GB = typer.Option(
    20.0, "--cache-gb", min=0, help="Most that kept features may take on disk, in GB.", rich_help_panel=_WHERE
)
_CACHE = typer.Option(
    None, "--cache", help="Folder of kept features; by default vidcomp's cache folder.", rich_help_panel=_WHERE
)
_WORKERS = typer.Option(
    1, "--workers", min=0, help="Videos read ahead, each in a thread and a decoding process.", rich_help_panel=_WHERE
)
_DEVICE = typer.Option(DeviceChoice.AUTO, "--device", help="Where it is trained.", rich_help_panel=_WHERE)
_RESUME = typer.Option(False, "--resume", help="Go on from the checkpoint, if there is one.", rich_help_panel=_WHERE)
_OVERWRITE = typer.Option(
    False, "--overwrite", help="Start again where a result or a checkpoint exists.", rich_help_panel=_WHERE
)
_TENSORBOARD = typer.Option(
    None,
    "--tensorboard",
    metavar="DIR",
    help="Log to TensorBoard too (needs the extra 'tensorboard').",
    rich_help_panel=_WHERE,
)
_QUIET = typer.Option(False, "--quiet", help="No progress; only videos that are skipped.", rich_help_panel=_WHERE)
_DEBUG = typer.Option(False, "--debug", help="Show tracebacks.", rich_help_panel=_WHERE)


@app.command("compressor")
def train_compressor(
    folder: Path = _FOLDER,
    model: str = _MODEL,
    output: Path = _OUTPUT,
    compressor: str | None = typer.Option(
        None,
        "--compressor",
        metavar="sfc|sgs|sgs+sfc",
        help="What to fit; by default the model's own compressors.",
        rich_help_panel=_WHAT,
    ),
    cut: str | None = typer.Option(
        None,
        "--cut",
        metavar="STAGE[+STAGE]",
        help="The stage after which each compressor stands; by default where the model's own does.",
        rich_help_panel=_WHAT,
    ),
    teacher: str | None = typer.Option(
        None,
        "--teacher",
        metavar="none|whole|dense30",
        help="Learn from what the uncompressed network says: dense30 (30 views of each video; dense10x1 and other "
        "numbers work too), or whole (one pass). "
        "With a teacher, videos need no labels.",
        rich_help_panel=_WHAT,
    ),
    val: Path | None = _VAL,
    unfreeze: bool = typer.Option(
        False, "--unfreeze", help="Fit the whole network, not the compressors alone.", rich_help_panel=_WHAT
    ),
    unfreeze_tail: bool = typer.Option(
        False, "--unfreeze-tail", help="Fit what stands behind the compressors with them.", rich_help_panel=_WHAT
    ),
    from_trained: bool = typer.Option(
        False, "--from-trained", help="Start from the weights that the model's compressors have.", rich_help_panel=_WHAT
    ),
    standalone: bool = typer.Option(
        False, "--standalone", help="Write the backbone's weights beside the manifest too.", rich_help_panel=_WHERE
    ),
    recipe: Path | None = _RECIPE,
    tau: list[float] = typer.Option(
        [], "--tau", help="Compression ratio of SFC; several are drawn from, one a video.", rich_help_panel=_HOW
    ),
    init_gain: float | None = typer.Option(
        None, "--init-gain", help="SFC starts as this times the identity: small is broad.", rich_help_panel=_HOW
    ),
    teacher_weight: float | None = typer.Option(
        None, "--teacher-weight", help="The teacher's weight against the label.", rich_help_panel=_HOW
    ),
    epochs: int | None = _EPOCHS,
    batch: int | None = _BATCH,
    learning_rate: float | None = _RATE,
    weight_decay: float | None = _DECAY,
    seed: int | None = _SEED,
    views_cached: int | None = _VIEWS,
    precision: Arithmetic | None = _PRECISION,
    keys: list[str] = _SET,
    cache_gb: float = _CACHE_GB,
    cache: Path | None = _CACHE,
    workers: int = _WORKERS,
    device: DeviceChoice = _DEVICE,
    resume: bool = _RESUME,
    overwrite: bool = _OVERWRITE,
    tensorboard: Path | None = _TENSORBOARD,
    quiet: bool = _QUIET,
    debug: bool = _DEBUG,
) -> None:
    """Fit SFC or SGS between a model's frozen head and tail; `vidcomp train FOLDER` means this.

    Defaults are the SFC paper's: SGD with momentum 0.9, learning rate 0.01, a tenth from epochs 8 and 12 of 15 on,
    weight decay 1e-5; scaled, cropped and mirrored whole videos. Features of the frozen head are computed once and kept
    on disk. The result is a manifest that `vidcomp classify --model` takes.

    Ctrl-C stops after a whole step; the same command with --resume goes on to the same result. The exit code is 0 when
    the model is written, 1 if some videos were skipped or training had to stop, 2 for wrong usage, 130 if interrupted,
    143 if terminated.
    """
    with reported(debug=debug):
        from vidcomp.training.compressor import CompressorJob, Unfrozen
        from vidcomp.training.compressor import train_compressor as train
        from vidcomp.training.config import CompressorRecipe

        given = {
            "taus": tau or None,
            "init_gain": init_gain,
            "teacher": teacher,
            "teacher_weight": teacher_weight,
            "epochs": epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "seed": seed,
            "views_cached": views_cached,
            "precision": precision and precision.value,
        }
        chosen = _recipe(CompressorRecipe, recipe, given, keys)
        unfrozen: Unfrozen = "all" if unfreeze else "tail" if unfreeze_tail else "nothing"
        job = CompressorJob(model, chosen, _joined(compressor), _joined(cut), unfrozen, standalone, from_trained)
        paths = _paths(
            folder, output, val, cache, cache_gb, workers, device, tensorboard, resume=resume, anew=overwrite
        )
        _run(lambda reporter, progress: train(job, paths, reporter, progress), paths, quiet=quiet, debug=debug)


@app.command("backbone")
def train_backbone(
    folder: Path = _FOLDER,
    model: str = _MODEL,
    output: Path = _OUTPUT,
    val: Path | None = _VAL,
    unfreeze: bool = typer.Option(
        False, "--unfreeze", help="Fit the head too; by default all up to the model's cut stays.", rich_help_panel=_WHAT
    ),
    from_scratch: bool = typer.Option(
        False, "--from-scratch", help="Begin with random weights, and fit all of them.", rich_help_panel=_WHAT
    ),
    recipe: Path | None = _RECIPE,
    epochs: int | None = _EPOCHS,
    batch: int | None = _BATCH,
    learning_rate: float | None = _RATE,
    weight_decay: float | None = _DECAY,
    seed: int | None = _SEED,
    views_cached: int | None = _VIEWS,
    precision: Arithmetic | None = _PRECISION,
    keys: list[str] = _SET,
    cache_gb: float = _CACHE_GB,
    cache: Path | None = _CACHE,
    workers: int = _WORKERS,
    device: DeviceChoice = _DEVICE,
    resume: bool = _RESUME,
    overwrite: bool = _OVERWRITE,
    tensorboard: Path | None = _TENSORBOARD,
    quiet: bool = _QUIET,
    debug: bool = _DEBUG,
) -> None:
    """Fine-tune a model's backbone on your own classes: the classifier is replaced, the stages after the cut learn.

    The classes are the names of FOLDER's sub-folders. Fit a compressor to the result afterwards:
    `vidcomp train FOLDER --model my.yaml --compressor sfc --output my-sfc.yaml`.
    """
    with reported(debug=debug):
        from vidcomp.training.backbone import BackboneJob
        from vidcomp.training.backbone import train_backbone as train
        from vidcomp.training.config import BackboneRecipe

        given = {
            "epochs": epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "seed": seed,
            "views_cached": views_cached,
            "precision": precision and precision.value,
        }
        job = BackboneJob(model, _recipe(BackboneRecipe, recipe, given, keys), unfreeze, from_scratch)
        paths = _paths(
            folder, output, val, cache, cache_gb, workers, device, tensorboard, resume=resume, anew=overwrite
        )
        _run(lambda reporter, progress: train(job, paths, reporter, progress), paths, quiet=quiet, debug=debug)


def _joined(text: str | None) -> tuple[str, ...]:
    return tuple(text.split("+")) if text is not None else ()


def _recipe(kind: type[AnyRecipe], file: Path | None, options: dict[str, Any], keys: list[str]) -> AnyRecipe:
    """The recipe's defaults, what the file says, and what options say, each over the one before."""
    import yaml

    from vidcomp.training.config import make_recipe
    from vidcomp.training.errors import RecipeError

    given = {name: value for name, value in options.items() if value is not None}
    for pair in keys:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}: write KEY=VALUE, such as --set schedule=cosine")
        try:
            given[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {pair}: the value is not valid YAML") from None
    try:
        return make_recipe(kind, file, given)
    except RecipeError as error:
        raise UsageError(str(error)) from None


def _paths(
    folder: Path,
    output: Path,
    val: Path | None,
    cache: Path | None,
    cache_gb: float,
    workers: int,
    device: DeviceChoice,
    tensorboard: Path | None,
    *,
    resume: bool,
    anew: bool,
) -> Paths:
    from vidcomp.training.paths import Paths

    return Paths(folder, output, val, cache, cache_gb, workers, device.value, resume, anew, tensorboard)


def _run(train: Callable[[Callbacks, Progress | None], Manifest], paths: Paths, *, quiet: bool, debug: bool) -> None:
    """Train, and end as the way it ended demands."""
    from vidcomp.cli.progress import download_progress
    from vidcomp.cli.signals import Stopped, stop_requests
    from vidcomp.cli.training_progress import TrainingProgress
    from vidcomp.training.errors import Interrupted, RequestError, TrainingError

    go_on = "run the same command with --resume to go on"
    with stop_requests(_STOPPING) as stop:
        try:
            with (
                download_progress(quiet=quiet) as progress,
                TrainingProgress(lambda: stop.number is not None, quiet=quiet) as reporter,
            ):
                train(reporter, progress)
        except Interrupted as stopped:
            fail(f"{stopped}; {go_on}", Stopped(stop.number).exit_code if stop.number is not None else SOME_FAILED)
        except Stopped as stopped:
            fail(f"stopped at once; {go_on}", stopped.exit_code)
        except RequestError as error:
            raise UsageError(str(error)) from None
        except TrainingError as error:
            if debug:
                raise
            fail(str(error), SOME_FAILED)
    if not quiet:
        print(f"wrote {paths.output} with its weights beside it; {paths.log} says how it went")
        print(f"try: vidcomp classify VIDEO --model {paths.output}")
    if reporter.left_out:
        raise typer.Exit(SOME_FAILED)
