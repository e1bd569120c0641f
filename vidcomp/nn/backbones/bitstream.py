"""The network over bitstreams: an encoder of anchors, one of P-frames for each of their kinds, and what joins them.

After *Towards Scalable Modeling of Compressed Videos for Efficient Action Recognition* (Das Biswas et al., 2025), of
which the abstract says: I-frames, motion vectors and residuals enter; the encoder of P-frames has spiking temporal
modulators; one transformer attends over the tokens of both; a multi-modal mixer follows. All else is ours, and what
each part is worth was measured (docs/bitstream.md).

Its stages are ``encoders``, ``transformer``, ``mixer`` and the classifier. One "frame" of its features is a group of
pictures, so that a compressor that stands after ``encoders`` keeps some of the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone, BackboneSpec
from vidcomp.nn.backbones.lite0 import SPEC as IMAGE_SPEC
from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.bitstream.modulators import Modulation, PEncoder, plain_convolutions
from vidcomp.nn.bitstream.tokens import (
    JointTransformer,
    Mixer,
    difference_pictures,
    motion_pictures,
    residual_pictures,
)
from vidcomp.nn.layers import FramewiseConv3d, MomentClassifier, fuse_bn
from vidcomp.nn.receptive_field import ReceptiveField

ENCODERS, TRANSFORMER, MIXER = "encoders", "transformer", "mixer"
GRID = 4
"""Tokens of a modality along each side of the picture."""

# Channels and strides of the convolutions over P-frames, which end at 6 × 8 and 5 × 6 places.
_MOTION_LAYERS = ((24, 2), (48, 2), (64, 1))
_RESIDUAL_LAYERS = ((12, 2), (24, 2), (48, 2), (64, 2))
_IMAGE_FEATURES = 1280
# Stages of the image network that look at differences, and the channels at their end.
_DIFFERENCE_STAGES, _DIFFERENCE_WIDTH = ("stem", "res2", "res3", "res4"), 112
# Shares of training videos that do without pictures, and without motion or residuals. The image network knows the
# videos that it was trained on, and would leave nothing to learn from.
_IMAGE_DROPPED, _P_DROPPED = 0.4, 0.15


_P_FRAMES = ("motion", "mask", "residual", "present")


class ImageEncoder(nn.Module):
    """EfficientNet-Lite0 without its pooling and its classifier, and a grid of tokens."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        image = lite0_slow(1, temporal=False)
        *stages, classifier = image.stages.values()
        self.network = nn.Sequential(*stages, classifier.get_submodule("features"))
        self.project = nn.Linear(_IMAGE_FEATURES, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """Map pictures (G, H, W, 3), RGB from 0 to 255, to features (G, 1280, 4, 4)."""
        # The image network knows one mean and one deviation for all colors.
        frames = (pictures.permute(3, 0, 1, 2).to(torch.float32) / 255 - IMAGE_SPEC.mean[0]) / IMAGE_SPEC.std[0]
        frames = frames.unsqueeze(0).contiguous(memory_format=torch.channels_last_3d)
        return F.adaptive_avg_pool3d(self.network(frames), (None, GRID, GRID))[0].transpose(0, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (G, 1280, 4, 4) to tokens (G, D, 4, 4)."""
        tokens: Tensor = self.project(features.movedim(1, -1))
        return tokens.movedim(-1, 1)


def difference_convolutions() -> nn.Sequential:
    """The first stages of EfficientNet-Lite0, its BatchNorm folded, over pictures of one channel."""
    image = lite0_slow(1, temporal=False)
    stages = [image.stages[name] for name in _DIFFERENCE_STAGES]
    trunk = nn.Sequential(FramewiseConv3d(1, 3, 1), *stages)
    fuse_bn(trunk.eval())
    return nn.Sequential(trunk, nn.BatchNorm3d(_DIFFERENCE_WIDTH))


class ModalityDropout(nn.Module):
    """In training, all of a modality's tokens of some videos are zero, so that the others learn to do without it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, grids: Tensor) -> Tensor:
        """Map grids (N, ...) of N videos to grids."""
        if not self.training:
            return grids
        kept = torch.rand(len(grids), *[1] * (grids.ndim - 1), device=grids.device) >= self.share
        return grids * kept


class Encoders(nn.Module):
    """The encoders of anchors, motion, residuals and differences; their grids of tokens stand side by side.

    The image network stays as it is when a model is trained, and :meth:`prepare` is what never changes.
    """

    # Each group of pictures is seen by itself.
    receptive_field = ReceptiveField(1, 0, 0)

    def __init__(
        self,
        channels: int,
        *,
        motion: bool,
        residual: bool,
        difference: Modulation | None,
        modulation: Modulation,
        every: int,
    ) -> None:
        super().__init__()
        self.every = every
        self.image = ImageEncoder(channels)

        def encoder(inputs: int, layers: Sequence[tuple[int, int]]) -> PEncoder:
            return PEncoder(plain_convolutions(inputs, layers), layers[-1][0], channels, GRID, modulation)

        self.motion = encoder(3, _MOTION_LAYERS) if motion else None
        self.residual = encoder(1, _RESIDUAL_LAYERS) if residual else None
        self.difference = None
        if difference is not None:
            self.difference = PEncoder(difference_convolutions(), _DIFFERENCE_WIDTH, channels, GRID, difference)
        self.image_dropout = ModalityDropout(_IMAGE_DROPPED)
        self.p_dropout = ModalityDropout(_P_DROPPED)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What of a bitstream it looks at."""
        p_frames = [
            *(("motion", "mask") if self.motion is not None else ()),
            *(("residual",) if self.residual is not None else ()),
        ]
        differences = ("difference", "differs") if self.difference is not None else ()
        return ("keyframes", *p_frames, *(("present",) if p_frames else ()), *differences)

    @property
    def prepared(self) -> tuple[str, ...]:
        """What :meth:`prepare` makes, in its order."""
        return ("image", *(name for name in self.modalities[1:] if name != "mask"))

    @property
    def learning(self) -> list[nn.Module]:
        """All but the image network."""
        parts = [
            self.image.project,
            self.motion,
            self.residual,
            self.difference,
            self.image_dropout,
            self.p_dropout,
        ]
        return [part for part in parts if part is not None]

    def prepare(self, chunk: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Image features and the pictures of P-frames of T groups of a video, as :meth:`forward` takes them.

        ``chunk`` holds what :attr:`modalities` names of ``keyframes`` (1, T, H, W, 3), ``motion`` (1, T, P, h, w, 2)
        in pixels, ``mask`` (1, T, P, h, w), ``residual`` (1, T, P, h', w') and ``present`` (1, T, P), which tells what
        is filled up from P-frames; of these every ``every``-th is looked at. And ``difference`` (1, T, J, h', w') and
        ``differs`` (1, T, J), which tells the same of it.

        Returns:
            ``image``, features (1, T, 1280, 4, 4), and where they are looked at ``motion`` (1, T, 3, P', 24, 32),
            ``residual`` (1, T, 1, P', 72, 96), ``present`` (1, T, P'), ``difference`` (1, T, 1, J, 72, 96) and
            ``differs`` (1, T, J).
        """
        one = {name: values[0] for name, values in chunk.items()}
        parts = {"image": self.image.features(one["keyframes"])}
        seen = {name: one[name][:, self.every - 1 :: self.every] for name in self.modalities if name in _P_FRAMES}
        if self.motion is not None:
            parts["motion"] = motion_pictures(seen["motion"], seen["mask"])
        if self.residual is not None:
            parts["residual"] = residual_pictures(seen["residual"])
        if "present" in seen:
            parts["present"] = seen["present"].to(torch.float32)
        if self.difference is not None:
            parts["difference"] = difference_pictures(one["difference"])
            parts["differs"] = one["differs"].to(torch.float32)
        return {name: part.unsqueeze(0) for name, part in parts.items()}

    def forward(self, chunk: Mapping[str, Tensor] | tuple[Tensor, ...]) -> Tensor:
        """Map T groups of a video, or what :meth:`prepare` made of those of N, to features (N, D, T, 4, M · 4)."""
        parts = self.prepare(chunk) if isinstance(chunk, Mapping) else dict(zip(self.prepared, chunk, strict=True))
        videos = parts["image"].shape[:2]
        flat = {name: part.flatten(0, 1) for name, part in parts.items()}
        grids = [self.image_dropout(self.image(flat["image"]).unflatten(0, videos))]
        for encoder, picture, there in (
            (self.motion, "motion", "present"),
            (self.residual, "residual", "present"),
            (self.difference, "difference", "differs"),
        ):
            if encoder is not None:
                grids.append(self.p_dropout(encoder(flat[picture], flat[there]).unflatten(0, videos)))
        return torch.cat(grids, dim=4).transpose(1, 2)


class Classifier(MomentClassifier):
    """A linear layer on the means of a group's tokens, of each version and of what went by; the mean over the groups.

    So each of them has logits of its own, which are added.
    """

    def __init__(self, channels: int, classes: int, dropout: float, columns: int, versions: int, passing: int) -> None:
        super().__init__()
        self._columns = [columns] * versions
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear((versions + (passing > 0)) * channels, classes)

    def moments(self, features: Tensor) -> Tensor:
        """Map features (N, D, T, H, W) to the logits of each group (N, T, classes)."""
        tokens = features.movedim(1, -1)  # (N, T, H, W, D)
        rest = tokens.shape[3] - sum(self._columns)
        *versions, passing = tokens.split([*self._columns, rest], dim=3)
        means = [self.norm(version).mean(dim=(2, 3)) for version in versions]
        if rest:
            means.append(passing.mean(dim=(2, 3)))
        logits: Tensor = self.linear(self.dropout(torch.cat(means, dim=2)))
        return logits

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D, T, H, W) to logits (N, classes)."""
        return self.join_moments(self.moments(features))


def bitstream(
    classes: int,
    *,
    channels: int = 128,
    layers: int = 2,
    heads: int = 4,
    motion: bool = True,
    residual: bool = True,
    difference: Modulation | None = None,
    modulation: Modulation = "spiking",
    mixer: bool = True,
    every: int = 3,
    dropout: float = 0.2,
) -> Backbone:
    """Build the network with random weights.

    Args:
        classes: how many logits.
        channels: D of a token.
        layers: of the transformer.
        heads: of its attention.
        motion: whether it looks at motion vectors.
        residual: whether it looks at residuals.
        difference: what sums up how brightness changes within each of the groups joined; ``None`` for a network that
            does not look at that. What it makes of it does not pass the transformer, and motion, if it is looked at,
            passes once more without the pictures. All logits are added.
        modulation: what sums up the P-frames of a group: ``spiking``, ``leaky``, ``gru`` or ``mean``.
        mixer: whether the mixer stands after the transformer.
        every: of the P-frames every so many-th is looked at.
        dropout: share of values that are dropped in training.

    Raises:
        ValueError: an option is out of its range.
    """
    if channels % (2 * heads):
        raise ValueError(f"channels must be a multiple of twice the heads, not {channels} for {heads}")
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    encoders = Encoders(
        channels, motion=motion, residual=residual, difference=difference, modulation=modulation, every=every
    )
    modalities = 1 + motion + residual
    alone = (1,) if difference is not None and motion else ()
    versions, columns = 1 + len(alone), modalities * GRID
    stages: dict[str, nn.Module] = {
        ENCODERS: encoders,
        TRANSFORMER: JointTransformer(channels, layers, heads, GRID, modalities, dropout, alone=alone),
    }
    if mixer:
        stages[MIXER] = Mixer(channels, columns * GRID, dropout, versions)
    stages[CLASSIFIER] = Classifier(channels, classes, dropout, columns, versions, 0 if difference is None else GRID)
    spec = BackboneSpec(
        clip_frames=1,
        stride=3,
        short_side=160,
        crop=160,
        mean=IMAGE_SPEC.mean,
        std=IMAGE_SPEC.std,
        central=True,
        modalities=encoders.modalities,
    )
    # Behind the transformer, groups are no longer each by itself.
    return Backbone(stages, spec, uncuttable=(TRANSFORMER, MIXER))
