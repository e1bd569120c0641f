"""The contract every backbone keeps: an ordered set of named stages that can be cut after any of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor, nn

CLASSIFIER = "classifier"


class Normalization(NamedTuple):
    """Mean and standard deviation of each RGB channel, on a scale of 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# Those of ImageNet's pictures, as MMAction2 and the TPN release write them; of PyTorchVideo's networks; of
# torchvision's and the R(2+1)D authors'; and pixels from −1 to 1.
IMAGENET_NORM = Normalization((123.675 / 255, 116.28 / 255, 103.53 / 255), (58.395 / 255, 57.12 / 255, 57.375 / 255))
PYTORCHVIDEO_NORM = Normalization((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
KINETICS_NORM = Normalization((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
CENTERED_NORM = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class CutError(ValueError):
    """A cut names no stage of the backbone, or stands out of order."""


@dataclass(frozen=True)
class BackboneSpec:
    """What a backbone expects of its input, in the units of the papers.

    ``clip_frames`` frames enter the network per clip, read every ``stride`` source frames ("8×8" is 8 frames at
    stride 8). A network that was trained on a fixed rate names it in ``fps``: the video is then sampled so many times a
    second first, and the stride counts in those samples. A whole video of fewer than ``shortest`` frames (by default,
    than a clip) has its last frame repeated. ``short_side`` is the test-time size of the whole frame's shorter side and
    ``crop`` the side of a dense view's square, both in pixels; with ``central`` a whole video, too, is seen through
    that square, in the middle. ``interpolation`` is how frames are scaled to that size. ``mean`` and ``std`` are per
    RGB channel on a 0–1 scale. ``temporal_strides`` gives the stages (by name) whose output has fewer frames than
    their input; a stage that is absent keeps every frame.
    ``modalities`` are what it looks at, RGB frames unless said otherwise; of a bitstream, ``stride`` is how many groups
    of pictures share one anchor that is looked at.
    With ``fixed_length`` it takes clips of ``clip_frames`` and nothing else: a whole video is then so many of its
    frames, spread evenly.
    """

    clip_frames: int
    stride: int
    short_side: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    temporal_strides: Mapping[str, int] = field(default_factory=dict)
    fps: float | None = None
    shortest: int | None = None
    central: bool = False
    modalities: tuple[str, ...] = ("rgb",)
    fixed_length: bool = False
    interpolation: Literal["bicubic", "area"] = "bicubic"

    def __post_init__(self) -> None:
        for name in ("clip_frames", "stride", "short_side", "crop"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.crop > self.short_side:
            raise ValueError(
                f"short_side: {self.short_side} is less than crop, {self.crop}: dense views are cut out of the frame, "
                "so give both, crop being at most short_side"
            )
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number, not {self.fps}")
        if self.shortest is not None and self.shortest < 1:
            raise ValueError(f"shortest must be at least 1, not {self.shortest}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std must hold three numbers each, and every std must be positive")

    @property
    def least_frames(self) -> int:
        """Frames that a whole video is filled up to."""
        return self.shortest or self.clip_frames

    @property
    def whole_side(self) -> int:
        """Pixels of the shorter side of a whole video's frames as the network sees them."""
        return self.crop if self.central else self.short_side


class Backbone(nn.Module):
    """A video network as an ordered dict of stages, the last of which is the classifier.

    Every stage but the last maps features (N, C, T, H, W) to features; the classifier maps them to logits
    (N, classes). Cutting is slicing :attr:`stages`; there is no second model class for a head or a tail.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        spec: BackboneSpec,
        *,
        uncuttable: Collection[str] = (),
        divided: Collection[str] = (),
    ) -> None:
        """Put ``stages`` in order.

        ``uncuttable`` names the stages after which more than one tensor travels on, where no compressor can stand.
        ``divided`` names those, each an ``nn.Sequential``, that can be cut inside too: after a layer, as ``stem.pool``.
        """
        super().__init__()
        names = list(stages)
        if len(names) < 2 or names[-1] != CLASSIFIER:
            raise ValueError(f"a backbone needs at least one stage and then {CLASSIFIER!r}, not {names}")
        self.stages = nn.ModuleDict(stages)
        self.spec = spec
        self._divided = frozenset(divided)
        self.cuts = tuple(name for name in list(self._parts())[:-1] if name not in uncuttable)
        """Names of what the backbone can be cut after: stages, and layers of them, whose features are one tensor."""

    def _parts(self) -> dict[str, nn.Module]:
        """What lies between possible cuts; the last part of a divided stage has the stage's name."""
        parts: dict[str, nn.Module] = {}
        for name, stage in self.stages.items():
            *inner, (_, last) = stage.named_children() if name in self._divided else [(name, stage)]
            parts |= {f"{name}.{layer}": module for layer, module in inner}
            parts[name] = last
        return parts

    def split(self, cuts: Sequence[str]) -> list[nn.Sequential]:
        """Slice the stages after each of ``cuts``: one segment more than there are cuts, sharing this one's weights.

        Raises:
            CutError: a name is not in :attr:`cuts`, is named twice, or the names are not in the network's order.
        """
        parts = self._parts()
        names = list(parts)
        bounds = [0]
        for cut in cuts:
            if cut not in self.cuts:
                raise CutError(f"unknown cut {cut!r}: this backbone can be cut after {', '.join(self.cuts)}")
            bounds.append(names.index(cut) + 1)
        if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
            raise CutError(f"cuts must follow the network's order ({', '.join(self.cuts)}), not {', '.join(cuts)}")
        bounds.append(len(names))
        return [nn.Sequential(*(parts[name] for name in names[start:end])) for start, end in itertools.pairwise(bounds)]

    def temporal_stride(self, after: str) -> int:
        """Input frames per feature frame once the stage, or layer of one, ``after`` has run."""
        stride = 1
        for name in self._parts():
            stride *= self.spec.temporal_strides.get(name, 1)
            if name == after:
                return stride
        raise CutError(f"unknown stage {after!r}: this backbone has {', '.join(self.stages)}")

    def forward(self, clip: Tensor) -> Tensor:
        """Logits (N, classes) of normalized clips (N, 3, T, H, W)."""
        features = clip
        for stage in self.stages.values():
            features = stage(features)
        return features
