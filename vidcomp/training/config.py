"""How and where a model is fitted: its recipe, readable from a YAML file, and the files of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vidcomp.inference.grammar import parse_strategy
from vidcomp.training import RecipeError, RequestError
from vidcomp.zoo.manifest import SchemaError, first_problem, read_mapping

# Keys of 0.1.0, and what they are called now.
_RENAMED = {
    "averaging": "ema_decay",
    "backdrop": "background_mix",
    "cover": "random_erasing",
    "drift": "camera_jitter",
    "foreign": "distractors",
    "foreign_weight": "distractor_weight",
    "gradient_norm": "clip_grad_norm",
    "new_factor": "lr_mult",
    "optimiser": "optimizer",
    "recolour": "color_jitter",
    "smallest_area": "min_crop_area",
    "square": "random_resized_crop",
    "start_gain": "init_gain",
    "thinning": "temporal_subsampling",
}
# Keys of which several kinds of recipe have defaults of their own.
Epochs = Annotated[int, Field(ge=1, description="passes over all videos")]
OptimizerName = Annotated[Literal["sgd", "adamw"], Field(description="sgd (with momentum) or adamw")]
LearningRate = Annotated[float, Field(gt=0, description="peak learning rate")]
WeightDecay = Annotated[float, Field(ge=0, description="decay of weights; biases and norms are not decayed by adamw")]
Schedule = Annotated[Literal["step", "cosine"], Field(description="how the learning rate falls")]
WarmUp = Annotated[int, Field(ge=0, description="steps over which the learning rate rises from 0")]
ClipGradNorm = Annotated[
    float | None, Field(gt=0, description="largest norm of the gradient, which is clipped to it; null: no limit")
]
EmaDecay = Annotated[float, Field(ge=0, lt=1, description="decay of the weights' moving average that is kept; 0: none")]
LabelSmoothing = Annotated[float, Field(ge=0, lt=1, description="share of the target spread over all classes")]
Mixup = Annotated[float, Field(ge=0, description="parameter of the Beta distribution of mixup; 0 for none")]
ColorJitter = Annotated[bool, Field(description="whether brightness, contrast and saturation change at random")]
ViewsCached = Annotated[
    int,
    Field(
        ge=0, description="augmented views of each video kept as features of the frozen head; 0: a new one each time"
    ),
]


class Recipe(BaseModel):
    """What trainings of compressors and of backbones have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: Epochs = 15
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    batch: int = Field(8, ge=1, description="videos per step of the optimizer")
    optimizer: OptimizerName = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: WeightDecay = 1e-5
    schedule: Schedule = "step"
    milestones: tuple[int, ...] = Field(
        (8, 12), description="schedule step: the rate falls to a tenth at each of these epochs"
    )
    cosine_epochs: int | None = Field(
        None, ge=1, description="schedule cosine: its length, if training stops before its end"
    )
    warm_up_steps: WarmUp = 0
    clip_grad_norm: ClipGradNorm = None
    ema_decay: EmaDecay = 0.0
    label_smoothing: LabelSmoothing = 0.0
    mixup: Mixup = 0.0
    crop: float = Field(0.875, gt=0, le=1, description="share of each side that crops have; 7/8 is 224×273 of 256×312")
    scale: tuple[float, float] = Field((1.0, 1.25), description="range of outward scaling before the crop")
    random_resized_crop: int | None = Field(
        None, ge=16, description="instead of crop and scale: crops of random area and shape, resized to this square"
    )
    min_crop_area: float = Field(
        0.35, gt=0, le=1, description="random_resized_crop: least share of the picture that it keeps"
    )
    color_jitter: ColorJitter = False
    flip: bool = Field(True, description="whether half of the views are mirrored")
    reverse: bool = Field(False, description="whether half of the views are played backwards")
    camera_jitter: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="how far the random_resized_crop of every second view wanders, as a share of the sides",
    )
    background_mix: float = Field(
        0.0, ge=0, lt=1, description="greatest weight of a still picture of another video, laid over every second view"
    )
    random_erasing: float = Field(0.0, ge=0, le=1, description="share of views in which a rectangle is gray")
    longest: int = Field(64, ge=1, description="most frames (at the model's stride) of a training video")
    views_cached: ViewsCached = 4
    view_seed: int | None = Field(
        None, ge=0, lt=2**63, description="random seed of cached views, for trainings that share them; null: seed"
    )
    precision: str = Field("fp32", description="number format of the computation: fp32, bf16, fp16 (GPU only), or auto")

    @field_validator("precision")
    @classmethod
    def _known_precision(cls, name: str) -> str:
        from vidcomp.inference.device import problem_with_precision

        if problem := problem_with_precision(name):
            raise ValueError(f"{name}: {problem}")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if not 1.0 <= self.scale[0] <= self.scale[1]:
            raise ValueError("scale must be two numbers of at least 1, the smaller one first: it enlarges")
        if list(self.milestones) != sorted(set(self.milestones)) or min(self.milestones, default=1) < 1:
            raise ValueError("milestones must be ascending epochs, counted from 1")
        if self.camera_jitter and self.random_resized_crop is None:
            raise ValueError("camera_jitter moves a random_resized_crop; give that too")
        if self.background_mix and self.views_cached:
            raise ValueError(
                "background_mix needs pictures of other videos, which kept views cannot have; give views_cached: 0"
            )
        return self


class CompressorRecipe(Recipe):
    """How compressors are fitted between frozen parts (SFC paper, section 4, by default).

    The learning rate is a tenth from epochs 8 and 12 on; videos are passed whole.
    """

    taus: tuple[float, ...] = Field((2.0,), min_length=1, description="compression ratios of SFC, one drawn per video")
    init_gain: float = Field(
        0.2, gt=0, description="θ_q and θ_k of SFC start as this times the identity: small is broad attention"
    )
    teacher: str = Field(
        "none",
        description="what to learn from beside labels: a strategy of the uncompressed network, such as whole or "
        "dense30",
    )
    teacher_weight: float = Field(
        0.5, ge=0, le=1, description="weight of the teacher, against that of the label; 1 without labels"
    )
    hints: str = Field(
        "none",
        description="a model, such as kinetics400-i3d, whose features of a whole video a linear layer has to predict "
        "from the network's own",
    )
    hint_weight: float = Field(0.5, gt=0, description="hints: weight of the squared error against the label")
    distractors: float = Field(
        0.0, ge=0, le=1, description="share of views in which footage without any action replaces some of the frames"
    )
    distractor_weight: float = Field(
        0.5, ge=0, description="distractors: weight of the attention on such footage against the label"
    )

    @field_validator("teacher")
    @classmethod
    def _uncompressed(cls, name: str) -> str:
        if name != "none":
            variant = parse_strategy(name).variant
            if variant.compressor not in (None, "none") or variant.tau is not None:
                raise ValueError(f"{name} is no teacher: choose none, whole, dense30, uniform8 or the like")
        return name

    @model_validator(mode="after")
    def _ratios(self) -> CompressorRecipe:
        if min(self.taus) < 1:
            raise ValueError("taus must be at least 1")
        if self.distractors and self.mixup:
            raise ValueError("distractors and mixup do not go together: give one of them")
        if self.hints != "none" and self.mixup:
            raise ValueError("hints and mixup do not go together: give one of them")
        return self


class AdamWRecipe(Recipe):
    """What trainings of whole networks have in common: AdamW, a warm-up and a cosine, averaged weights."""

    optimizer: OptimizerName = "adamw"
    weight_decay: WeightDecay = 0.05
    schedule: Schedule = "cosine"
    warm_up_steps: WarmUp = 100
    clip_grad_norm: ClipGradNorm = 2.0
    label_smoothing: LabelSmoothing = 0.1


class BitstreamRecipe(AdamWRecipe):
    """How a model of the bitstream is fitted, by AdamW.

    Of the keys about pictures, ``flip`` alone has a meaning: what the image network makes of them is kept. Videos are
    never played backwards.
    """

    epochs: Epochs = 24
    batch: int = Field(16, ge=1, description="videos per step of the optimizer")
    learning_rate: LearningRate = 1e-3
    ema_decay: EmaDecay = 0.99
    longest: int = Field(2, ge=1, description="groups of pictures of a training video")
    zoom: float = Field(1.25, ge=1, description="P-frames are scaled up or down by at most this factor")
    shift: float = Field(0.15, ge=0, lt=1, description="and shifted by at most this share of half a side")
    teacher: str = Field("none", description="a model to learn from, or MODEL:STRATEGY, such as ucf16-lite0:dense30")
    teacher_weight: float = Field(
        0.5, ge=0, le=1, description="weight of the teacher, against that of the label; 1 without labels"
    )


class BackboneRecipe(AdamWRecipe):
    """How a backbone is fine-tuned on clips, by AdamW and with mixup."""

    epochs: Epochs = 12
    learning_rate: LearningRate = 4e-4
    ema_decay: EmaDecay = 0.998
    mixup: Mixup = 0.4
    views_cached: ViewsCached = 0
    color_jitter: ColorJitter = True
    frozen_up_to: str | None = Field(
        None, description="the last stage that stays as it is; by default the stage where the model is cut"
    )
    temporal_subsampling: tuple[int, ...] = Field(
        (1,),
        min_length=1,
        description="for each step one n of these is drawn, and the tail is shown every n-th of the head's frames: "
        "what it will get from a compressor (all trained: every n-th frame, to the head)",
    )
    lr_mult: float = Field(4.0, gt=0, description="how many times faster new parameters learn")
    new: tuple[str, ...] = Field(
        (), description="which parameters are new, beside the classifier's last layer: parts of their names"
    )

    @model_validator(mode="after")
    def _subsamples(self) -> BackboneRecipe:
        if min(self.temporal_subsampling) < 1:
            raise ValueError("temporal_subsampling must be numbers of at least 1")
        if max(self.temporal_subsampling) > 1 and self.views_cached:
            raise ValueError("temporal_subsampling is of views made anew for each step; give views_cached: 0")
        return self


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def make_recipe(kind: type[AnyRecipe], file: Path | None, given: Mapping[str, Any]) -> AnyRecipe:
    """A recipe from the defaults, then ``file``, then what was ``given`` by name.

    Raises:
        RecipeError: the file cannot be read, or a key or value is not valid.
    """
    try:
        content = {} if file is None else read_mapping(file, "recipe", "epochs: 15", empty=True)
        return kind.model_validate({**content, **given})
    except SchemaError as error:
        raise RecipeError(str(error)) from None
    except ValidationError as error:
        key = str((error.errors()[0]["loc"] or ("",))[0])
        where = str(file) if file is not None and key not in given else "recipe"
        now = _RENAMED.get(key)
        problem = f"{key} is called {now} now" if now in kind.model_fields else first_problem(error, kind)
        raise RecipeError(f"{where}: {problem}") from None


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a training reads and writes.

    ``source`` are the videos, ``output`` the manifest to write; the weights, the log (``.log.csv``) and the checkpoint
    (``.checkpoint.pt``) get its name. ``val`` are videos to judge by. ``cache`` (by default vidcomp's own cache folder)
    holds at most ``cache_gb`` thousand million bytes of features.
    """

    source: Path
    output: Path
    val: Path | None = None
    cache: Path | None = None
    cache_gb: float = 20.0
    workers: int = 1
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.output.with_suffix(".checkpoint.pt")

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.output.with_suffix(".log.csv")

    def weights(self, part: str = "") -> Path:
        """The file of weights, or of one part of them."""
        return self.output.with_suffix(f".{part}.safetensors" if part else ".safetensors")

    def check(self) -> None:
        """Find out before the work, not after it, that its result cannot be written.

        Raises:
            RequestError: nor may what is there be lost.
        """
        if self.output.suffix not in (".yaml", ".yml"):
            raise RequestError(f"{self.output}: the manifest's name must end in .yaml")
        if not self.output.parent.is_dir():
            raise RequestError(f"{self.output}: there is no folder {self.output.parent}; make it first")
        if self.overwrite:
            return
        if self.checkpoint.exists():
            if not self.resume:
                raise RequestError(
                    f"{self.checkpoint}: this training is not finished; continue it (resume=True), or start again "
                    "(overwrite=True)"
                )
        elif self.output.exists():
            raise RequestError(f"{self.output}: it exists already; choose another name, or replace it (overwrite=True)")
