"""`vidcomp train`: fit compressors, or a backbone, to your own videos; :mod:`train_head` has a last layer alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.errors import SOME_FAILED, UsageError, reported
from vidcomp.cli.help import App, Group
from vidcomp.cli.options import DeviceChoice, Model, finite

if TYPE_CHECKING:
    from vidcomp.training.callbacks import Callbacks
    from vidcomp.training.config import AnyRecipe, Paths
    from vidcomp.transfer import Progress
    from vidcomp.zoo.manifest import Manifest

_DEFAULT = "compressor"


class TrainGroup(Group):
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


app = App(
    name="train",
    cls=TrainGroup,
    no_args_is_help=True,
    help="Fit a compressor (the default), a last layer (head), or a backbone, to your own videos.",
)


what = functools.partial(typer.Option, rich_help_panel="What is fitted")
_how = functools.partial(typer.Option, rich_help_panel="How (each also a key of --recipe)")
where = functools.partial(typer.Option, rich_help_panel="Where it is kept")
CacheGB = Annotated[
    float, where("--cache-gb", min=0, callback=finite, help="Most disk space for kept features, in GB.")
]
Cache = Annotated[Path | None, where("--cache", help="Folder for kept features; by default vidcomp's cache folder.")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What both commands take; those that change the recipe bear the names of its keys."""

    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with a sub-folder of videos for each class, or a CSV file of path,label. With --teacher, "
            "the videos need no labels."
        ),
    ]
    model: Model = DEFAULT_MODEL
    output: Annotated[
        Path, where("--output", "-o", help="The manifest (.yaml) to write. Other files get the same name.")
    ]
    val: Annotated[
        Path | None, what(help="Labeled videos to validate on after each epoch; they are not trained on.")
    ] = None
    recipe: Annotated[Path | None, _how(help="A YAML file of the recipe's keys (docs/training.md).")] = None
    epochs: Annotated[int | None, _how(min=1, help="Passes over all videos.")] = None
    batch: Annotated[int | None, _how(min=1, help="Videos per step.")] = None
    learning_rate: Annotated[float | None, _how(callback=finite, help="Peak learning rate.")] = None
    weight_decay: Annotated[float | None, _how(callback=finite, help="Weight decay.")] = None
    seed: Annotated[int | None, _how(min=0, help="Random seed.")] = None
    views_cached: Annotated[
        int | None,
        _how(min=0, help="Augmented views per video whose features are kept on disk; 0: new views each time."),
    ] = None
    precision: Annotated[
        str | None,
        _how(
            metavar="auto|fp32|bf16|fp16",
            help="Number format of the computation; bf16 is for GPUs and CPUs that have it, fp16 for GPUs.",
        ),
    ] = None
    keys: Annotated[list[str], _how("--set", metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.")] = (
        field(default_factory=list)
    )
    cache_gb: CacheGB = 20.0
    cache: Cache = None
    workers: Annotated[int, where(min=0, help="Videos read ahead, each in a thread and a decoding process.")] = 1
    device: Annotated[DeviceChoice, where(envvar="VIDCOMP_DEVICE", help="Where to train.")] = DeviceChoice.AUTO
    resume: Annotated[bool, where("--resume", help="Continue from the checkpoint, if there is one.")] = False
    overwrite: Annotated[bool, where("--overwrite", help="Replace an existing result or checkpoint.")] = False
    tensorboard: Annotated[
        Path | None, where(metavar="DIR", help="Log to TensorBoard too (needs the extra 'tensorboard').")
    ] = None
    push: Annotated[
        str | None, where(metavar="hf:OWNER/NAME", help="Upload the result to the Hugging Face Hub (extra 'hf').")
    ] = None
    quiet: Annotated[bool, where("--quiet", "-q", help="Print only which videos are skipped.")] = False
    debug: Annotated[bool, where("--debug", help="Show tracebacks.")] = False

    def paths(self) -> Paths:
        """Where the training reads and writes."""
        from vidcomp.training.config import Paths

        return Paths(
            source=self.folder,
            output=self.output,
            val=self.val,
            cache=self.cache,
            cache_gb=self.cache_gb,
            workers=self.workers,
            device=self.device.value,
            resume=self.resume,
            overwrite=self.overwrite,
            tensorboard=self.tensorboard,
        )

    def recipe_of(self, kind: type[AnyRecipe], **more: Any) -> AnyRecipe:
        """The recipe's defaults, what the file says, and what options say, each over the one before."""
        import yaml

        from vidcomp.training import RecipeError
        from vidcomp.training.config import make_recipe
        from vidcomp.zoo.manifest import parse_yaml

        options = {**{name: value for name, value in vars(self).items() if name in kind.model_fields}, **more}
        given = {name: value for name, value in options.items() if value is not None}
        for pair in self.keys:
            name, equals, value = pair.partition("=")
            if not equals:
                raise UsageError(f"--set {pair}: write KEY=VALUE, such as --set schedule=cosine")
            try:
                given[name.strip()] = parse_yaml(value)
            except yaml.YAMLError as error:
                problem = getattr(error, "problem", None) or "it cannot be parsed"
                raise UsageError(f"--set {pair}: the value is not valid YAML: {problem}") from None
        try:
            return make_recipe(kind, self.recipe, given)
        except RecipeError as error:
            raise UsageError(str(error)) from None


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command, whose first argument they are, be given :class:`Options` on the command line."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        shared = {option.name: given.pop(option.name) for option in fields(Options)}
        command(Options(**shared), **given)

    hints, own = get_type_hints(Options, include_extras=True), get_type_hints(command, include_extras=True)
    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default_of(option),
            annotation=hints[option.name],
        )
        for option in fields(Options)
    ]
    _, *others = inspect.signature(command).parameters.values()
    parameters += [other.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own[other.name]) for other in others]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _default_of(option: Field[Any]) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default


@app.command("compressor")
@_with_options
def train_compressor(
    options: Options,
    compressor: Annotated[
        str | None,
        what(metavar="sfc|sgs|sgs+sfc", help="What to fit; by default the model's own compressors."),
    ] = None,
    cut: Annotated[
        str | None,
        what(
            metavar="STAGE[+STAGE]",
            help="The stage after which each compressor stands; by default where the model's own does.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        what(
            metavar="none|whole|dense30",
            help="Learn from what the uncompressed network says: dense30 (30 views of each video; dense10x1 or "
            "uniform8 work too), or whole (one pass over the same view). With a teacher, videos need no labels.",
        ),
    ] = None,
    unfreeze: Annotated[bool, what("--unfreeze", help="Fit the whole network, not the compressors alone.")] = False,
    unfreeze_tail: Annotated[bool, what("--unfreeze-tail", help="Fit the stages after the compressors too.")] = False,
    from_trained: Annotated[
        bool, what("--from-trained", help="Start from the weights that the model's compressors have now.")
    ] = False,
    standalone: Annotated[
        bool, where("--standalone", help="Write the backbone's weights beside the manifest too.")
    ] = False,
    tau: Annotated[
        list[float] | None,
        _how(callback=finite, help="Compression ratio of SFC. If there are several, one is drawn per video."),
    ] = None,
    init_gain: Annotated[
        float | None,
        _how(callback=finite, help="SFC starts as this times the identity; a smaller value means broader attention."),
    ] = None,
    teacher_weight: Annotated[
        float | None, _how(callback=finite, help="Weight of the teacher, against that of the label.")
    ] = None,
) -> None:
    """Fit SFC or SGS between a model's frozen head and tail; `vidcomp train FOLDER` means this.

    Defaults are the SFC paper's: SGD with momentum 0.9, learning rate 0.01, a tenth from epochs 8 and 12 of 15 on,
    weight decay 1e-5; scaled, cropped and mirrored whole videos. Features of the frozen head are computed once and kept
    on disk. The result is a manifest that `vidcomp classify --model` takes.

    Ctrl-C stops after a whole step; the same command with --resume continues to the same result. The exit code is 0
    when the model is written, 1 if some videos were skipped or training had to stop, 2 for wrong usage, 130 if
    interrupted, 143 if terminated.
    """
    with reported(debug=options.debug):
        from vidcomp.training.compressor import CompressorJob, Unfrozen
        from vidcomp.training.compressor import train_compressor as train
        from vidcomp.training.config import CompressorRecipe

        recipe = options.recipe_of(
            CompressorRecipe, taus=tau or None, init_gain=init_gain, teacher=teacher, teacher_weight=teacher_weight
        )
        unfrozen: Unfrozen = "all" if unfreeze else "tail" if unfreeze_tail else "nothing"
        job = CompressorJob(
            options.model, recipe, _joined(compressor), _joined(cut), unfrozen, standalone, from_trained
        )
        _run(functools.partial(train, job), options)


@app.command("backbone")
@_with_options
def train_backbone(
    options: Options,
    unfreeze: Annotated[
        bool,
        what("--unfreeze", help="Fit the head too. By default, the stages up to the model's cut stay as they are."),
    ] = False,
    from_scratch: Annotated[
        bool, what("--from-scratch", help="Start from random weights, and fit all of them.")
    ] = False,
) -> None:
    """Fine-tune a model's backbone on your own classes: the classifier is replaced, the stages after the cut learn.

    The classes are the names of FOLDER's sub-folders. Fit a compressor to the result afterwards:
    `vidcomp train FOLDER --model my.yaml --compressor sfc --output my-sfc.yaml`.
    """
    with reported(debug=options.debug):
        from vidcomp.training.backbone import BackboneJob
        from vidcomp.training.backbone import train_backbone as train
        from vidcomp.training.config import BackboneRecipe

        job = BackboneJob(options.model, options.recipe_of(BackboneRecipe), unfreeze, from_scratch)
        _run(functools.partial(train, job), options)


@app.command("bitstream")
@_with_options
def train_bitstream(
    options: Options,
    teacher: Annotated[
        str | None,
        what(
            metavar="MODEL[:STRATEGY]",
            help="Learn from what another model says of the same videos, such as ucf16-lite0:dense30. With a teacher, "
            "videos need no labels.",
        ),
    ] = None,
    teacher_weight: Annotated[
        float | None, _how(callback=finite, help="Weight of the teacher, against that of the label.")
    ] = None,
) -> None:
    """Fit a bitstream model to your own classes: all of it but its image network.

    The classes are the names of FOLDER's sub-folders, or with a teacher its labels. If the model reads frames, its
    sibling that reads bitstreams is fitted.
    """
    with reported(debug=options.debug):
        from vidcomp.training.bitstream import BitstreamJob
        from vidcomp.training.bitstream import train_bitstream as train
        from vidcomp.training.config import BitstreamRecipe

        recipe = options.recipe_of(BitstreamRecipe, teacher=teacher, teacher_weight=teacher_weight)
        _run(functools.partial(train, BitstreamJob(options.model, recipe)), options)


def _joined(text: str | None) -> tuple[str, ...]:
    return tuple(text.split("+")) if text is not None else ()


def _run(train: Callable[[Paths, Callbacks, Progress | None], Manifest], options: Options) -> None:
    """Train, and end as the way it ended demands."""
    from vidcomp.cli.training_progress import told

    paths = options.paths()
    if options.push is not None:
        from vidcomp.zoo.hub import check_pushable

        check_pushable(options.push)
    go_on = "run the same command with --resume to continue"
    with told("step", go_on, quiet=options.quiet, debug=options.debug) as (progress, reporter):
        train(paths, reporter, progress)
    if not options.quiet:
        print(f"wrote {paths.output} with its weights beside it; {paths.log} says how it went")
        print("the accuracy above is on the training videos; measure the new model, and the old one, on others:")
        print(f"  vidcomp evaluate OTHER-VIDEOS --model {paths.output}")
        print(f"  vidcomp evaluate OTHER-VIDEOS --model {options.model}")
        print(f"use it: vidcomp classify VIDEO --model {paths.output}")
    if options.push is not None:
        from vidcomp.zoo.hub import push

        address = push(paths.output, options.push)
        if not options.quiet:
            print(f"uploaded to {address}")
    if reporter.left_out:
        raise typer.Exit(SOME_FAILED)
