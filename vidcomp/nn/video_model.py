"""What every model is to the rest of the program: what it wants of a video, and how features become an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from vidcomp.nn.backbones.base import BackboneSpec
from vidcomp.nn.compressors.base import Attention, Features, Ragged
from vidcomp.nn.layers import MomentClassifier
from vidcomp.nn.receptive_field import ReceptiveField

# A chunk of one video on the model's device: normalized RGB (1, 3, t, H, W), or for a model of other or of several
# modalities one tensor (1, t, ...) for each by its name.
ModelInput: TypeAlias = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class ModelOutput:
    """Logits (N, classes), and for each compressor, in the model's order, its attention or ``None``.

    An attention is one tensor (N, T', T), or N maps (T', T) where T' differs from video to video; either way its n-th
    element is the map of video n. ``features`` (N, M, C) are what the last layer was given of M moments, where that was
    noted (:func:`noting_features`). ``moments``, where they were asked for, are N tensors of logits (M, classes), of M
    moments of equal length in the order of the last features.
    """

    logits: Tensor
    attention: tuple[Attention | None, ...]
    features: Tensor | None = None
    moments: tuple[Tensor, ...] | None = None

    def of_video(self, number: int) -> ModelOutput:
        """What concerns one video of the batch, as the output of a batch of one."""
        only = slice(number, number + 1)
        return ModelOutput(
            self.logits[only],
            tuple(None if maps is None else maps[only] for maps in self.attention),
            None if self.features is None else self.features[only],
            None if self.moments is None else self.moments[only],
        )


# P-frames that follow a key frame where there is one in every twelve frames.
_P_FRAMES = 11
_CELL = 8


def blank_input(spec: BackboneSpec, frames: int, height: int, width: int) -> ModelInput:
    """Zeros on the current default device as a model with this ``spec`` takes them: so many frames of that size.

    Of a bitstream, ``frames`` are groups of pictures, each as long as the key frames of one in twelve make it.
    """
    if spec.modalities == ("rgb",):
        return torch.zeros(1, 3, frames, height, width)
    steps = (1, frames, _P_FRAMES * spec.stride)
    grid, half = (-(-height // _CELL), -(-width // _CELL)), (-(-height // 2), -(-width // 2))
    shapes = {
        "keyframes": (1, frames, height, width, 3),
        "motion": (*steps, *grid, 2),
        "mask": (*steps, *grid),
        "residual": (*steps, *half),
        "present": steps,
        "difference": (1, frames, spec.stride, *half),
        "differs": (1, frames, spec.stride),
    }
    return {name: torch.zeros(shapes[name]) for name in spec.modalities}


class VideoModel(nn.Module, ABC):
    """A model over videos of any length: :meth:`encode` meets a video chunk by chunk, :meth:`finish` names it.

    Whoever runs one asks for what it wants and can do, and never for its class. ``segments`` are its parts that may be
    compiled, each a map of features to features. ``compressors`` stand in a row, one frame of their input being worth
    ``temporal_strides`` frames of the video; without any, there is no attention.
    """

    temporal_strides: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.segments = nn.ModuleList()
        self.compressors = nn.ModuleList()

    @property
    @abstractmethod
    def input_spec(self) -> BackboneSpec:
        """What it wants of a video: modalities, frames per second or stride, sizes, mean and std."""

    @property
    def attention_kinds(self) -> tuple[str, ...]:
        """What made each attention of an output: the kinds of the compressors."""
        return tuple(str(compressor.kind) for compressor in self.compressors)

    @property
    def head_field(self) -> ReceptiveField | None:
        """How far in time :meth:`encode` looks; ``None`` where that is not known, or is the whole video."""
        return None

    @property
    def classifiers(self) -> tuple[nn.Module, ...]:
        """The last layer, of features (N, C), (N, M, C) of M moments or (N, C, T, H, W); or each of several.

        Several see a part of the channels each, and their logits are added: the stage that does so names them in an
        attribute ``classifiers``.
        """
        modules = list(self.segments[-1].modules())
        several: Any = next((part.classifiers for part in modules if hasattr(part, "classifiers")), None)
        if several is not None:
            return tuple(several)
        return ([part for part in modules if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv3d)][-1],)

    @property
    def join_moments(self) -> Callable[[Tensor], Tensor]:
        """What makes of logits (N, M, classes) of the moments that the last layer was given one (N, classes).

        It averages them, unless the last stage has a method ``join_moments`` of its own.
        """
        stages: list[Any] = [part for part in self.segments[-1].modules() if hasattr(part, "join_moments")]
        return stages[0].join_moments if stages else lambda logits: logits.mean(dim=1)

    @abstractmethod
    def encode(self, chunks: Iterable[Any], *, remainder: int | None = None) -> Features:
        """The features of one video from its consecutive chunks, each a :data:`ModelInput`.

        ``remainder`` is that of the number of frames divided by the stride of :attr:`head_field`, where it is known.
        """

    @property
    def moment_classifier(self) -> MomentClassifier | None:
        """The last stage, if it names moments; ``None`` where only the video as a whole is named."""
        return None

    @abstractmethod
    def finish(
        self, features: Features | Ragged, *, need_attention: bool = False, need_moments: bool = False
    ) -> ModelOutput:
        """Logits of a batch of features, or of videos that differ in shape, with what else of it is needed."""


def noting_features(network: VideoModel, run: Callable[[], ModelOutput]) -> ModelOutput:
    """The output of ``run``, which passes videos of one shape through the network once, with :attr:`features`."""
    seen: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (features,) = inputs
        if isinstance(layer, nn.Linear):
            seen.append(features.flatten(1, -2) if features.ndim > 2 else features.unsqueeze(1))
        else:
            seen.append(features.flatten(2).mean(dim=2).unsqueeze(1))

    hooks = [layer.register_forward_pre_hook(note) for layer in network.classifiers]
    try:
        output = run()
    finally:
        for hook in hooks:
            hook.remove()
    # Of a stage that is passed a second time, for single moments, the first counts.
    return replace(output, features=torch.cat(seen[: len(hooks)], dim=2).float())


def rollout(network: VideoModel, output: ModelOutput, video: int = 0) -> Tensor | None:
    """The weights (T', T) of a video's last frames over those that entered the first compressor with a map.

    The maps of compressors in a row are multiplied (attention rollout: Abnar and Zuidema, ACL 2020, equation 1).
    This takes the stages between two compressors for what they are in time, framewise or striding, and leaves out
    how far a temporal kernel there looks around. ``None`` where no compressor has a map.
    """
    weights: Tensor | None = None
    stride = 1
    for attention, at in zip(output.attention, network.temporal_strides, strict=True):
        if attention is None:
            continue
        own = attention[video].float()
        weights = own if weights is None else own @ weights[:: at // stride][: own.shape[1]]
        stride = at
    return weights
