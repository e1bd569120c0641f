"""How a model is fitted: every number of a training, with the papers' as defaults, readable from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vidcomp.inference.grammar import parse_strategy
from vidcomp.training.errors import RecipeError

Precision = Literal["float32", "bfloat16", "float16"]
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


class Recipe(BaseModel):
    """What trainings of compressors and of backbones have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(15, ge=1, description="passes over all videos")
    seed: int = Field(0, ge=0, description="what all chance follows from")
    batch: int = Field(8, ge=1, description="videos to a step of the optimizer")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd (with momentum) or adamw")
    learning_rate: float = Field(0.01, gt=0, description="the greatest learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(1e-5, ge=0, description="decay of weights; biases and norms are not decayed by adamw")
    schedule: Literal["step", "cosine"] = Field("step", description="how the learning rate falls")
    milestones: tuple[int, ...] = Field((8, 12), description="schedule step: from these epochs on, a tenth each")
    cosine_epochs: int | None = Field(
        None, ge=1, description="schedule cosine: its length, where training is to stop before its end"
    )
    warm_up_steps: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    clip_grad_norm: float | None = Field(None, gt=0, description="longest gradient, clipped beyond; null for any")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average that is kept; 0: none")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    mixup: float = Field(0.0, ge=0, description="parameter of the Beta distribution of mixup; 0 for none")
    crop: float = Field(0.875, gt=0, le=1, description="share of each side that crops have; 7/8 is 224×273 of 256×312")
    scale: tuple[float, float] = Field((1.0, 1.25), description="range of outward scaling before the crop")
    random_resized_crop: int | None = Field(
        None, ge=16, description="instead of crop and scale: crops of random area and shape, resized to this square"
    )
    min_crop_area: float = Field(
        0.35, gt=0, le=1, description="random_resized_crop: least share of the picture that it keeps"
    )
    color_jitter: bool = Field(False, description="whether brightness, contrast and saturation change at random")
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
    random_erasing: float = Field(
        0.0, ge=0, le=1, description="share of views of which a rectangle is covered with grey"
    )
    longest: int = Field(64, ge=1, description="most frames (at the model's stride) of a training video")
    views_cached: int = Field(
        4, ge=0, description="augmented views of each video kept as features of the frozen head; 0: a new one each time"
    )
    view_seed: int | None = Field(
        None, ge=0, description="what chance in cached views follows from, for trainings that share them; null: seed"
    )
    precision: Precision = Field("float32", description="of the arithmetic: float32, bfloat16, or float16 (GPU only)")

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

    taus: tuple[float, ...] = Field((2.0,), min_length=1, description="compression ratios of SFC, one drawn a video")
    init_gain: float = Field(
        0.2, gt=0, description="θ_q and θ_k of SFC start as this times the identity: small is broad attention"
    )
    teacher: str = Field(
        "none", description="who else says what is right: the uncompressed network, by whole, dense30 or dense10x1"
    )
    teacher_weight: float = Field(0.5, ge=0, le=1, description="of the teacher against the label; 1 without labels")
    distractors: float = Field(
        0.0, ge=0, le=1, description="share of views in which footage without any action replaces some of the frames"
    )
    distractor_weight: float = Field(
        0.5, ge=0, description="distractors: weight of the attention on such footage against the label"
    )

    @field_validator("teacher")
    @classmethod
    def _uncompressed(cls, name: str) -> str:
        if name != "none" and parse_strategy(name).variant.compressor != "none":
            raise ValueError(f"{name} is no teacher: choose none, whole, or dense views such as dense30")
        return name

    @model_validator(mode="after")
    def _ratios(self) -> CompressorRecipe:
        if min(self.taus) < 1:
            raise ValueError("taus must be at least 1")
        if self.distractors and self.mixup:
            raise ValueError("distractors and mixup do not go together: give one of them")
        return self


class BackboneRecipe(Recipe):
    """How a backbone is fine-tuned on clips: AdamW, a warm-up and a cosine, mixup, averaged weights."""

    epochs: int = Field(12, ge=1, description="passes over all videos")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="sgd (with momentum) or adamw")
    learning_rate: float = Field(4e-4, gt=0, description="the greatest learning rate")
    weight_decay: float = Field(0.05, ge=0, description="decay of weights; biases and norms are not decayed by adamw")
    schedule: Literal["step", "cosine"] = Field("cosine", description="how the learning rate falls")
    warm_up_steps: int = Field(100, ge=0, description="steps over which the learning rate rises from 0")
    clip_grad_norm: float | None = Field(2.0, gt=0, description="longest gradient, clipped beyond; null for any")
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="decay of the weights' moving average that is kept; 0: none"
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target spread over all classes")
    mixup: float = Field(0.4, ge=0, description="parameter of the Beta distribution of mixup; 0 for none")
    views_cached: int = Field(
        0, ge=0, description="augmented views of each video kept as features of the frozen head; 0: a new one each time"
    )
    color_jitter: bool = Field(True, description="whether brightness, contrast and saturation change at random")
    frozen_up_to: str | None = Field(
        None, description="the last stage that stays as it is; by default the stage where the model is cut"
    )
    temporal_subsampling: tuple[int, ...] = Field(
        (1,),
        min_length=1,
        description="for each step one n of these is drawn, and the tail is shown every n-th of the head's frames: "
        "what it will get from a compressor (all trained: every n-th frame, to the head)",
    )
    lr_mult: float = Field(4.0, gt=0, description="how much faster learns what starts from nothing")
    new: tuple[str, ...] = Field(
        (), description="what does, beside the classifier's last layer: parts of names of parameters"
    )

    @model_validator(mode="after")
    def _thins(self) -> BackboneRecipe:
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
    content = {} if file is None else _read(file)
    try:
        return kind.model_validate({**content, **given})
    except ValidationError as error:
        raise RecipeError(_explain(kind, error, file, given)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: the recipe cannot be read ({getattr(error, 'strerror', error)})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise RecipeError(f"{file}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(f"{file}: a recipe is a mapping of keys, such as 'epochs: 15'")
    return content


def _explain(kind: type[Recipe], error: ValidationError, file: Path | None, given: Mapping[str, Any]) -> str:
    """The first thing wrong in one line: where, which key, what is wrong with it, and what the key means."""
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    where = str(file) if file is not None and key not in given else "recipe"
    if first["type"] == "extra_forbidden":
        if _RENAMED.get(key) in kind.model_fields:
            return f"{where}: {key} is called {_RENAMED[key]} now"
        return f"{where}: unknown key {key!r}; allowed here are {', '.join(kind.model_fields)}"
    what = first["msg"].removeprefix("Value error, ")
    if not key:
        return f"{where}: {what}"
    return f"{where}: {key}: {what} ({key} is {kind.model_fields[key].description})"
