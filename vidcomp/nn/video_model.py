"""What every model is to the rest of the program: what it wants of a video, and how features become an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from vidcomp.nn.backbones.base import BackboneSpec
from vidcomp.nn.compressors.base import Attention, Features, Ragged
from vidcomp.nn.receptive_field import ReceptiveField

# A chunk of one video on the model's device: normalized RGB (1, 3, t, H, W), or for a model of other or of several
# modalities one tensor (1, t, ...) for each by its name.
ModelInput: TypeAlias = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class ModelOutput:
    """Logits (N, classes), and for each compressor, in the model's order, its attention or ``None``.

    An attention is one tensor (N, T', T), or N maps (T', T) where T' differs from video to video; either way its n-th
    element is the map of video n.
    """

    logits: Tensor
    attention: tuple[Attention | None, ...]

    def of_video(self, number: int) -> ModelOutput:
        """What concerns one video of the batch, as the output of a batch of one."""
        only = slice(number, number + 1)
        return ModelOutput(self.logits[only], tuple(None if maps is None else maps[only] for maps in self.attention))


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
    def head_field(self) -> ReceptiveField | None:
        """How far in time :meth:`encode` looks; ``None`` where that is not known, or is the whole video."""
        return None

    @property
    def classifier(self) -> nn.Module:
        """The layer that turns features (N, C), or (N, C, T, H, W) where they are averaged later, into logits."""
        layers = [part for part in self.segments[-1].modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv3d)]
        return layers[-1]

    @abstractmethod
    def encode(self, chunks: Iterable[Any], *, remainder: int | None = None) -> Features:
        """The features of one video from its consecutive chunks, each a :data:`ModelInput`.

        ``remainder`` is that of the number of frames divided by the stride of :attr:`head_field`, where it is known.
        """

    @abstractmethod
    def finish(self, features: Features | Ragged, *, need_attention: bool = False) -> ModelOutput:
        """Logits of a batch of features, or of videos that differ in shape, with attention where it is needed."""


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
