"""Layers that backbones share: what names a video's moments; and layers computed faster to the same result, frame by
frame as the 2-D ones they are, on few frames at once, and with BatchNorm folded into the convolution before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_FEW = 4


class MomentClassifier(nn.Module, ABC):
    """A last stage that names each moment of a video, and the video by what is said of them."""

    @abstractmethod
    def moments(self, features: Tensor) -> Tensor:
        """Map features (N, C, T, H, W) to logits (N, M, classes) of M moments, in the order of time."""

    def join_moments(self, logits: Tensor) -> Tensor:
        """Logits (N, classes) of videos from those of their moments (N, M, classes): their mean."""
        return logits.mean(dim=1)


class FramewiseConv3d(nn.Conv3d):
    """A 1×k×k convolution without temporal stride or padding, done in 2-D with time folded into the batch.

    The CPU kernels for 2-D are faster: Slow-only R50's head, fused and in ``channels_last_3d`` memory, takes 0.09 s of
    CPU time for 8 frames of 112×112 pixels instead of 0.14 s, and the backward pass of depthwise ones is several times
    faster. In that memory layout the folding itself is free.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Convolve (N, C, T, H, W) frame by frame."""
        n, _, t = features.shape[:3]
        frames, padding = self.pad(features.transpose(1, 2).flatten(0, 1))
        frames = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], padding, groups=self.groups)
        unfolded: Tensor = frames.unflatten(0, (n, t)).transpose(1, 2)
        return unfolded

    def pad(self, frames: Tensor) -> tuple[Tensor, Sequence[int]]:
        """Frames (N, C, H, W), and how many zeros they are still to get on both sides of height and width."""
        return frames, [int(side) for side in self.padding[1:]]


def few_at_a_time(layers: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Apply layers that look at single frames to features (N, C, T, H, W), on a CPU to a few frames at a time.

    The result is the same. What the layers make in between stays in the processor's cache, and takes no more memory for
    a long video than for a short one. Where gradients are wanted all of it is kept anyway, and nothing is cut up.
    """
    whole = features.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling()
    if whole or features.shape[2] <= _FEW:
        return layers(features)
    return torch.cat([layers(part) for part in features.split(_FEW, dim=2)], dim=2)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of ``size`` by TensorFlow's SAME: the output has ⌈size / stride⌉ elements.

    What cannot be halved goes behind.
    """
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def fuse_bn(module: nn.Module) -> int:
    """Fold, in place, every BatchNorm3d that directly follows a Conv3d among the children of one module.

    The BatchNorm is replaced by ``nn.Identity`` and the convolution gains a bias. Only right in evaluation mode, and
    only for modules that run such children one after the other, as every backbone and compressor here does.

    Returns:
        How many were folded.

    Raises:
        RuntimeError: the module is in training mode, where BatchNorm is not a fixed affine map.
    """
    if module.training:
        raise RuntimeError("fuse_bn needs a module in evaluation mode: call .eval() first")
    folded = 0
    for parent in list(module.modules()):
        convolution: nn.Conv3d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm3d) and convolution is not None:
                assert child.running_mean is not None
                assert child.running_var is not None
                weight, bias = fuse_conv_bn_weights(
                    convolution.weight,
                    convolution.bias,
                    child.running_mean,
                    child.running_var,
                    child.eps,
                    child.weight,
                    child.bias,
                )
                convolution.weight, convolution.bias = weight, bias
                setattr(parent, name, nn.Identity())
                folded += 1
            convolution = child if isinstance(child, nn.Conv3d) else None
    return folded
