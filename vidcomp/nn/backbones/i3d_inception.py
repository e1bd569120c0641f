"""I3D (Carreira and Zisserman, CVPR 2017): Inception-v1 with BatchNorm, inflated to video.

The layout is that of the paper's figure 3. Padding is TensorFlow's SAME, which its weights were trained with: where a
stride meets an even size there is one pixel (or frame) more behind than in front, and that depends on the size. One
clip of 64 frames of 224×224 pixels costs 111 GMACs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CENTERED_NORM, CLASSIFIER, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import Triple
from vidcomp.nn.layers import FramewiseConv3d, MomentClassifier, same_padding
from vidcomp.nn.receptive_field import ReceptiveField, side_by_side

_EPS = 1e-3  # of every BatchNorm
_POOL = (2, 7, 7)  # frames, height and width of the classifier's averaging window
# Moments over which logits are averaged, 8 frames apart. Chosen on clips of UCF101, alone and within other footage: see
# docs/models/kinetics400-i3d.md.
_SPAN = 6

# Channels of each Mixed module: its input's, and (1×1×1), (reduced, 3×3×3), (reduced, 3×3×3), (pooled).
_MIXED: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], int]] = {
    "3b": (192, 64, (96, 128), (16, 32), 32),
    "3c": (256, 128, (128, 192), (32, 96), 64),
    "4b": (480, 192, (96, 208), (16, 48), 64),
    "4c": (512, 160, (112, 224), (24, 64), 64),
    "4d": (512, 128, (128, 256), (24, 64), 64),
    "4e": (512, 112, (144, 288), (32, 64), 64),
    "4f": (528, 256, (160, 320), (32, 128), 128),
    "5b": (832, 256, (160, 320), (32, 128), 128),
    "5c": (832, 384, (192, 384), (48, 128), 128),
}


def _same_field(kernel: int, stride: int) -> ReceptiveField:
    before, _ = same_padding(stride, kernel, stride)
    after = kernel - 1 - before
    if stride == 1 or kernel <= stride:
        return ReceptiveField(stride, before, after)
    return ReceptiveField(stride, before + stride - 1, after + stride - 1, by_length=True)


class SameConvBN(nn.Module):
    """A convolution padded as TensorFlow's SAME, BatchNorm without scale, and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        # Without a stride, and with an odd kernel, SAME is symmetric whatever the size.
        padding = kernel // 2 if stride == 1 else 0
        conv = FramewiseConv3d if kernel == stride == 1 else nn.Conv3d
        self.conv = conv(inputs, outputs, (kernel,) * 3, stride=(stride,) * 3, padding=(padding,) * 3, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=_EPS)
        self.bn.register_parameter("weight", None)

    @property
    def receptive_field(self) -> ReceptiveField:
        """Where there is a stride, by the number of frames."""
        return _same_field(self.conv.kernel_size[0], self.conv.stride[0])

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T/stride, H/stride, W/stride), rounded up."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:
            # F.pad begins with the last axis.
            axes = [same_padding(size, kernel, stride) for size in reversed(features.shape[2:])]
            features = F.pad(features, [side for axis in axes for side in axis])
        return F.relu(self.bn(self.conv(features)), inplace=True)


class SameMaxPool3d(nn.Module):
    """A max pool padded as TensorFlow's SAME."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    @property
    def receptive_field(self) -> ReceptiveField:
        """Where there is a stride, by the number of frames."""
        return _same_field(self.kernel[0], self.stride[0])

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, T/stride, H/stride, W/stride), rounded up."""
        kernel = self.kernel
        if kernel == (3, 3, 3) and self.stride == (1, 1, 1) and not torch.is_grad_enabled():
            # Axis by axis a third of the comparisons are left, and they are vectorized: less than half the time.
            return _highest_of_three(_highest_of_three(_highest_of_three(features, 2), 3), 4)
        if (self.kernel[0], self.stride[0]) == (2, 1):
            # With a stride of 1 nothing hangs over the edge: the last frame stands for the one behind it.
            features = torch.maximum(features, torch.cat([features[:, :, 1:], features[:, :, -1:]], dim=2))
            kernel = (1, *self.kernel[1:])
        # What SAME adds behind, torch's ceil mode adds too: a last window that hangs over the edge.
        before = [
            same_padding(size, length, stride)[0]
            for size, length, stride in zip(features.shape[2:], kernel, self.stride, strict=True)
        ]
        return F.max_pool3d(features, kernel, self.stride, before, ceil_mode=True)


def _highest_of_three(features: Tensor, axis: int) -> Tensor:
    """The maximum of each element along an axis and of its two neighbors there."""
    highest, others = features.clone(), features.shape[axis] - 1
    for first, neighbor in ((0, 1), (1, 0)):
        part = highest.narrow(axis, first, others)
        torch.maximum(part, features.narrow(axis, neighbor, others), out=part)
    return highest


class Mixed(nn.Module):
    """The Inception module: four branches side by side, their channels joined."""

    def __init__(self, inputs: int, plain: int, wide: tuple[int, int], narrow: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.plain = SameConvBN(inputs, plain)
        self.wide = nn.Sequential(SameConvBN(inputs, wide[0]), SameConvBN(*wide, kernel=3))
        self.narrow = nn.Sequential(SameConvBN(inputs, narrow[0]), SameConvBN(*narrow, kernel=3))
        self.pooled = nn.Sequential(SameMaxPool3d((3, 3, 3), (1, 1, 1)), SameConvBN(inputs, pooled))

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of all branches."""
        return side_by_side(self.plain, self.wide, self.narrow, self.pooled)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T, H, W)."""
        branches = (self.plain, self.wide, self.narrow, self.pooled)
        return torch.cat([branch(features) for branch in branches], dim=1)


class Classifier(MomentClassifier):
    """The mean over windows of two frames and 7×7 positions, a linear layer, and its logits over time made one.

    As published, logits are averaged over time; so they are here, for up to two seconds. Of a longer video each two
    seconds have logits of their own, and the mean of their exponentials is taken: what is certain for a while counts
    more than what is likely all the time, so that an action that fills a part of the video is still named.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, classes)."""
        return self.join_moments(self.moments(features))

    def moments(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to logits (N, T − 1, classes), each of two frames; of a single frame where T is 1."""
        window = [min(most, size) for most, size in zip(_POOL, features.shape[2:], strict=True)]
        pooled = F.avg_pool3d(features, window, stride=1).mean(dim=(3, 4)).transpose(1, 2)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def join_moments(self, logits: Tensor) -> Tensor:
        """Logits (N, M, classes) of moments made one (N, classes): the log of the spans' mean exponential."""
        # The mean of a linear layer's outputs is its output for the mean.
        spans = F.avg_pool1d(logits.transpose(1, 2), min(_SPAN, logits.shape[1]), stride=1)
        return spans.logsumexp(dim=2) - math.log(spans.shape[2])


def _mixed(names: Sequence[str]) -> dict[str, nn.Module]:
    """One stage for each Mixed module; the last of a scale is named as the scale."""
    return {f"mixed_{name}" if name != names[-1] else f"mixed_{name[0]}": Mixed(*_MIXED[name]) for name in names}


def i3d_inception(classes: int = 400, mixed_4a_stride: int = 2) -> Backbone:
    """I3D on RGB, for every frame at 25 frames per second.

    Stages are fine, so that a compressor can stand between any two modules: ``mixed_3b``, ``mixed_3`` (what the paper
    calls Mixed_3c, the last of its scale), ``mixed_4a`` (the pool that opens the scale), ``mixed_4b`` and so on; the
    stem can be cut inside, too.

    Args:
        classes: how many labels.
        mixed_4a_stride: of that pool in time. With 1 it takes the maximum of two frames instead of three and keeps all:
            where a compressor before it has left every second frame, these are as far apart as with 2 and none.

    Raises:
        ValueError: the stride is neither 1 nor 2.
    """
    if mixed_4a_stride not in (1, 2):
        raise ValueError(f"mixed_4a_stride must be 1 or 2, not {mixed_4a_stride!r}")
    stem = nn.Sequential()
    stem.add_module("conv_1a", SameConvBN(3, 64, kernel=7, stride=2))
    stem.add_module("pool_2a", SameMaxPool3d((1, 3, 3), (1, 2, 2)))
    stem.add_module("conv_2b", SameConvBN(64, 64))
    stem.add_module("conv_2c", SameConvBN(64, 192, kernel=3))
    stem.add_module("pool_3a", SameMaxPool3d((1, 3, 3), (1, 2, 2)))
    stages: dict[str, nn.Module] = {
        "stem": stem,
        **_mixed(["3b", "3c"]),
        "mixed_4a": SameMaxPool3d((1 + mixed_4a_stride, 3, 3), (mixed_4a_stride, 2, 2)),
        **_mixed(["4b", "4c", "4d", "4e", "4f"]),
        "mixed_5a": SameMaxPool3d((2, 2, 2), (2, 2, 2)),
        **_mixed(["5b", "5c"]),
        CLASSIFIER: Classifier(1024, classes),
    }
    spec = BackboneSpec(
        clip_frames=64,
        stride=1,
        short_side=256,
        crop=224,
        mean=CENTERED_NORM.mean,
        std=CENTERED_NORM.std,
        temporal_strides={"stem.conv_1a": 2, "mixed_4a": mixed_4a_stride, "mixed_5a": 2},
        fps=25.0,
        # The network takes any number; with these its last features stand for two moments.
        shortest=16,
    )
    return Backbone(stages, spec, divided=("stem",))
