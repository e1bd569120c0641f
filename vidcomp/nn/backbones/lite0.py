"""EfficientNet-Lite0 inflated to video, alone and as two streams (the embedded backbones).

lite0_slow is inflated in the manner of Slow-only I3D. Every 2-D kernel becomes 1×k×k, so ImageNet weights carry over
unchanged. Time is mixed by depthwise 3×1×1 convolutions in res4 and res5 alone, where Slow-only has its temporal
kernels too; they start as the identity, so that before training the network is the image network applied to each
frame. Nothing strides in time.

As a motion stream the same network is shown, instead of the frames, how each changes into the next ("RGB difference",
Wang et al., Temporal Segment Networks, 2016): what stands still, most of the scene among it, is gone.

lite0_two_stream has one for what is seen and one for what moves, side by side and cut as one (Simonyan and Zisserman,
2014). Both read every frame. Their features travel as one tensor, one stream's channels after the other's, so that a
compressor weighs a frame by its looks and its motion together. Their logits are added, as the streams' probabilities
would be multiplied.

The stages keep the names of the residual networks by their scale: stem (1/2), res2 (1/4), res3 (1/8), res4 (1/16),
res5 (1/32).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone, BackboneSpec
from vidcomp.nn.layers import FramewiseConv3d, MomentClassifier, few_at_a_time, same_padding
from vidcomp.nn.receptive_field import ReceptiveField, one_after_the_other, receptive_field, side_by_side

# (expansion, kernel, stride, channels out, repeats) of each of Lite0's seven groups, and the stage that holds it.
_GROUPS = {
    "stem": [(1, 3, 1, 16, 1)],
    "res2": [(6, 3, 2, 24, 2)],
    "res3": [(6, 5, 2, 40, 2)],
    "res4": [(6, 3, 2, 80, 3), (6, 5, 1, 112, 3)],
    "res5": [(6, 5, 2, 192, 4), (6, 3, 1, 320, 1)],
}
_TEMPORAL_STAGES = ("res4", "res5")
_STEM_CHANNELS = 32
_FEATURES = 1280
# The image network was trained with these (its framework's defaults): they belong to the weights.
_BN_EPS = 1e-3
_MEAN = 127.0 / 255.0
_STD = 128.0 / 255.0
# Differences are smaller than frames. With ImageNet weights left as they are, 3 told actions apart better than 1.5.
_DIFFERENCE_GAIN = 3.0

SPEC = BackboneSpec(
    clip_frames=16, stride=4, short_side=192, crop=192, mean=(_MEAN, _MEAN, _MEAN), std=(_STD, _STD, _STD)
)


class SamePadConv(FramewiseConv3d):
    """A 1×k×k convolution padded so that its output is ⌈input/stride⌉, any odd row or column going last.

    The image weights were trained with that padding; a symmetric one would shift every strided feature map.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, (1, kernel, kernel), stride=(1, stride, stride), groups=groups, bias=False)

    def pad(self, frames: Tensor) -> tuple[Tensor, Sequence[int]]:
        """Zeros by the frames' size."""
        kernel, stride = self.kernel_size[1], self.stride[1]
        top, bottom = same_padding(frames.shape[2], kernel, stride)
        left, right = same_padding(frames.shape[3], kernel, stride)
        symmetric = top == bottom and left == right
        return (frames, (top, left)) if symmetric else (F.pad(frames, (left, right, top, bottom)), (0, 0))


class TemporalMix(nn.Conv3d):
    """A depthwise 3×1×1 convolution that starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            self.weight[:, :, 1] = 1.0


def _batch_norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=_BN_EPS)


class InvertedResidual(nn.Module):
    """Lite0's block: 1×1×1 expansion, depthwise 1×k×k, 1×1×1 projection; with time mixed before the expansion."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, temporal: bool) -> None:
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.mix: nn.Module = TemporalMix(inputs) if temporal else nn.Identity()
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = nn.Sequential(SamePadConv(inputs, width, 1), _batch_norm(width), nn.ReLU6())
        self.depthwise = nn.Sequential(
            SamePadConv(width, width, kernel, stride, groups=width), _batch_norm(width), nn.ReLU6()
        )
        self.project = nn.Sequential(SamePadConv(width, outputs, 1), _batch_norm(outputs))

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of the temporal convolution."""
        return receptive_field(self.mix)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T, H/stride, W/stride)."""
        out = few_at_a_time(self._of_frames, self.mix(features))
        return out + features if self.residual else out

    def _of_frames(self, features: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(features)))
        return out


class Classifier(MomentClassifier):
    """1×1×1 convolution to 1280 features, average over space and time, linear layer."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(SamePadConv(inputs, _FEATURES, 1), _batch_norm(_FEATURES), nn.ReLU6())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(_FEATURES, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, classes)."""
        pooled = few_at_a_time(self._of_frames, features).mean(dim=(2, 3, 4))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def moments(self, features: Tensor) -> Tensor:
        """Logits (N, T, classes) of each frame."""
        logits: Tensor = self.linear(few_at_a_time(self._of_frames, features).flatten(2).transpose(1, 2))
        return logits

    def _of_frames(self, features: Tensor) -> Tensor:
        return self.features(features).mean(dim=(3, 4), keepdim=True)  # type: ignore[no-any-return]


def difference(clip: Tensor) -> Tensor:
    """How each frame of (N, 3, T, H, W) changes into the next, enlarged; the last, of which nobody knows, not at all.

    Zeros at the end are what a convolution's padding would give: a video run in chunks meets them only there.
    """
    return F.pad(clip[:, :, 1:] - clip[:, :, :-1], (0, 0, 0, 0, 0, 1)) * _DIFFERENCE_GAIN


class MotionStem(nn.Sequential):
    """A stem that is shown the differences between frames."""

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """One frame ahead, for the difference."""
        inner = one_after_the_other(*self)
        return None if inner is None else ReceptiveField(1, 0, 1).then(inner)

    def forward(self, clip: Tensor) -> Tensor:
        """Map normalized clips (N, 3, T, H, W) to features of as many frames."""
        features = difference(clip).contiguous(memory_format=torch.channels_last_3d)
        for module in self:
            features = module(features)
        return features


def lite0_slow(
    classes: int, dropout: float = 0.2, *, motion: bool = False, temporal: bool = True, spec: BackboneSpec = SPEC
) -> Backbone:
    """Build the backbone with random weights and identity temporal convolutions; ``classes`` logits.

    With ``motion`` it looks at the differences between frames; where it is not ``temporal`` it never mixes them, and is
    the image network.
    """
    stages: dict[str, nn.Module] = {}
    channels = _STEM_CHANNELS
    for stage, groups in _GROUPS.items():
        blocks: list[nn.Module] = []
        if stage == "stem":
            blocks += [SamePadConv(3, channels, 3, 2), _batch_norm(channels), nn.ReLU6()]
        for expansion, kernel, stride, outputs, repeats in groups:
            for index in range(repeats):
                blocks.append(
                    InvertedResidual(
                        channels,
                        outputs,
                        expansion,
                        kernel,
                        stride if index == 0 else 1,
                        temporal=temporal and stage in _TEMPORAL_STAGES,
                    )
                )
                channels = outputs
        stages[stage] = MotionStem(*blocks) if motion and stage == "stem" else nn.Sequential(*blocks)
    stages[CLASSIFIER] = Classifier(channels, classes, dropout)
    return Backbone(stages, spec)


def inflate_imagenet(backbone: Backbone, image_weights: Mapping[str, Tensor]) -> None:
    """Load the 2-D ImageNet weights of EfficientNet-Lite0 into ``backbone``; the linear layer stays as it is.

    ``image_weights`` has the published key names (``_conv_stem``, ``_blocks.N._expand_conv``, …).

    Raises:
        KeyError: a weight that the backbone needs is not there.
        RuntimeError: a weight has another shape.
    """
    blocks = [m for m in backbone.modules() if isinstance(m, InvertedResidual)]
    first = backbone.stages["stem"]
    assert isinstance(first, nn.Sequential)
    pairs: list[tuple[str, str, nn.Module, nn.Module]] = [("_conv_stem", "_bn0", first[0], first[1])]
    for index, block in enumerate(blocks):
        prefix = f"_blocks.{index}."
        if isinstance(block.expand, nn.Sequential):
            pairs.append((f"{prefix}_expand_conv", f"{prefix}_bn0", block.expand[0], block.expand[1]))
        pairs.append((f"{prefix}_depthwise_conv", f"{prefix}_bn1", block.depthwise[0], block.depthwise[1]))
        pairs.append((f"{prefix}_project_conv", f"{prefix}_bn2", block.project[0], block.project[1]))
    classifier = backbone.stages[CLASSIFIER]
    assert isinstance(classifier, Classifier)
    pairs.append(("_conv_head", "_bn1", classifier.features[0], classifier.features[1]))
    for convolution_key, norm_key, convolution, norm in pairs:
        convolution.load_state_dict({"weight": image_weights[f"{convolution_key}.weight"].unsqueeze(2)})
        norm.load_state_dict(
            {name: image_weights[f"{norm_key}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
            | {"num_batches_tracked": torch.tensor(0)}
        )


APPEARANCE, MOTION = "appearance", "motion"


class Streams(nn.Module):
    """One stage of both streams."""

    def __init__(self, appearance: nn.Module, motion: nn.Module) -> None:
        super().__init__()
        self.appearance = appearance
        self.motion = motion

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of both."""
        return side_by_side(self.appearance, self.motion)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, 2C, T, H, W), appearance first, to (N, 2C', T, H', W')."""
        appearance, motion = _parted(features)
        return torch.cat([self.appearance(appearance), self.motion(motion)], dim=1)


class StreamsStem(Streams):
    """The first stage: both streams see the clip."""

    def forward(self, clip: Tensor) -> Tensor:
        """Map clips (N, 3, T, H, W) to (N, 2C, T, H, W)."""
        return torch.cat([self.appearance(clip), self.motion(clip)], dim=1)


class StreamsClassifier(Streams, MomentClassifier):
    """The last stage: logits of both, added."""

    @property
    def classifiers(self) -> tuple[nn.Module, ...]:
        """The last layer of each stream."""
        assert isinstance(self.appearance, Classifier)
        assert isinstance(self.motion, Classifier)
        return self.appearance.linear, self.motion.linear

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, 2C, T, H, W) to logits (N, classes)."""
        appearance, motion = _parted(features)
        logits: Tensor = self.appearance(appearance) + self.motion(motion)
        return logits

    def moments(self, features: Tensor) -> Tensor:
        """Logits (N, T, classes) of each frame."""
        appearance, motion = _parted(features)
        assert isinstance(self.appearance, Classifier)
        assert isinstance(self.motion, Classifier)
        return self.appearance.moments(appearance) + self.motion.moments(motion)


def _parted(features: Tensor) -> tuple[Tensor, Tensor]:
    appearance, motion = features.chunk(2, dim=1)
    # A slice of the channels is not laid out as convolutions are fast on.
    layout = torch.channels_last_3d
    return appearance.contiguous(memory_format=layout), motion.contiguous(memory_format=layout)


def join(appearance: Backbone, motion: Backbone) -> Backbone:
    """Put two networks of the same stages and channels side by side, sharing their weights."""
    stages: dict[str, nn.Module] = {}
    for name in appearance.stages:
        kind = StreamsStem if not stages else StreamsClassifier if name == CLASSIFIER else Streams
        stages[name] = kind(appearance.stages[name], motion.stages[name])
    return Backbone(stages, appearance.spec)


def lite0_two_stream(classes: int, dropout: float = 0.2) -> Backbone:
    """Two :func:`lite0_slow` networks, the second looking at the differences between frames."""
    return join(lite0_slow(classes, dropout), lite0_slow(classes, dropout, motion=True))
