"""SlowFast R50 (Feichtenhofer et al., ICCV 2019): a slow pathway of many channels, a fast one of many frames.

After each stage but the last a lateral convolution of temporal stride α brings the fast pathway to the slow one's
frames. Features between stages are a pair (slow, fast). With SGS in both pathways the two no longer fit: the shorter
is then zero-padded at its end before they are joined (appendix A of the SGS paper). That padding is the video's own,
so it does not depend on the batch.

Clips are fast frames: the slow pathway takes every α-th of them, as evenly as whole numbers allow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.backbones.residual import BLOCKS_BY_DEPTH, ConvBN, bottleneck_stage, stem

# Width of the slow pathway's bottlenecks, its temporal kernel and the spatial stride of each stage.
_STAGES = {"res2": (64, 1, 1), "res3": (128, 1, 2), "res4": (256, 3, 2), "res5": (512, 3, 2)}
_SLOW_STEM_CHANNELS = 64
# The fast pathway has 1/β of the slow one's channels, and temporal kernels throughout.
_INVERSE_BETA = 8
_FAST_STEM_KERNEL = 5
_FAST_KERNEL = 3
# The lateral convolution doubles the fast pathway's channels.
_LATERAL_RATIO = 2

SPEC = BackboneSpec(
    clip_frames=32, stride=2, short_side=256, crop=256, mean=PYTORCHVIDEO_NORM.mean, std=PYTORCHVIDEO_NORM.std
)

Pathways = tuple[Tensor, Tensor]


class Lateral(nn.Module):
    """Brings fast features to the slow pathway's frame rate and appends them to its channels."""

    def __init__(self, fast_channels: int, alpha: int, kernel: int) -> None:
        super().__init__()
        self.convolution = ConvBN(fast_channels, fast_channels * _LATERAL_RATIO, (kernel, 1, 1), (alpha, 1, 1))

    def forward(self, pathways: Pathways) -> Pathways:
        """Map (slow, fast) to (slow with the lateral's channels, fast); the shorter is zero-padded in time."""
        slow, fast = pathways
        lateral = self.convolution(fast)
        frames = max(slow.shape[2], lateral.shape[2])
        return torch.cat([_pad_frames(slow, frames), _pad_frames(lateral, frames)], dim=1), fast


def _pad_frames(features: Tensor, frames: int) -> Tensor:
    """Append zero frames to (N, C, T, H, W) until there are ``frames``."""
    missing = frames - features.shape[2]
    return F.pad(features, (0, 0, 0, 0, 0, missing)) if missing else features


class PathwayStage(nn.Module):
    """One stage in each pathway, and the lateral connection after it (none after the last)."""

    def __init__(self, slow: nn.Module, fast: nn.Module, lateral: Lateral | None) -> None:
        super().__init__()
        self.slow = slow
        self.fast = fast
        self.lateral = lateral

    def forward(self, pathways: Pathways) -> Pathways:
        """Map (slow, fast) features to (slow, fast) features."""
        slow, fast = self.slow(pathways[0]), self.fast(pathways[1])
        if self.lateral is None:
            return slow, fast
        joined: Pathways = self.lateral((slow, fast))
        return joined


class PathwayStem(PathwayStage):
    """The first stage: splits a clip into the two pathways' frames."""

    def __init__(self, slow: nn.Module, fast: nn.Module, lateral: Lateral, alpha: int) -> None:
        super().__init__(slow, fast, lateral)
        self.alpha = alpha

    def forward(self, clip: Tensor) -> Pathways:  # type: ignore[override]
        """Map a clip (N, 3, T, H, W) to (slow with ⌈T/α⌉ frames, fast with T)."""
        frames = clip.shape[2]
        slow_frames = torch.linspace(0, frames - 1, -(-frames // self.alpha), device=clip.device).long()
        return super().forward((clip.index_select(2, slow_frames), clip))


class PathwayClassifier(nn.Module):
    """Average of each pathway over its time and space, dropout, linear layer on both."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, pathways: Pathways) -> Tensor:
        """Map (slow, fast) to logits (N, classes)."""
        pooled = torch.cat([features.mean(dim=(2, 3, 4)) for features in pathways], dim=1)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


def slowfast_4x16_r50(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """SlowFast R50, 4 slow frames of 32: α = 8, lateral kernel 5."""
    return _slowfast(alpha=8, lateral_kernel=5, classes=classes, dropout=dropout)


def slowfast_8x8_r50(classes: int = 400, dropout: float = 0.5) -> Backbone:
    """SlowFast R50, 8 slow frames of 32: α = 4, lateral kernel 7."""
    return _slowfast(alpha=4, lateral_kernel=7, classes=classes, dropout=dropout)


def _slowfast(alpha: int, lateral_kernel: int, classes: int, dropout: float) -> Backbone:
    slow = _SLOW_STEM_CHANNELS
    fast = slow // _INVERSE_BETA
    stages: dict[str, nn.Module] = {
        "stem": PathwayStem(
            stem(1, channels=slow),
            stem(_FAST_STEM_KERNEL, channels=fast),
            Lateral(fast, alpha, lateral_kernel),
            alpha,
        )
    }
    for (name, (width, kernel, stride)), depth in zip(_STAGES.items(), BLOCKS_BY_DEPTH[50], strict=True):
        fast_width = width // _INVERSE_BETA
        stages[name] = PathwayStage(
            bottleneck_stage(slow + fast * _LATERAL_RATIO, width, [kernel] * depth, stride),
            bottleneck_stage(fast, fast_width, [_FAST_KERNEL] * depth, stride),
            None if name == "res5" else Lateral(4 * fast_width, alpha, lateral_kernel),
        )
        slow, fast = 4 * width, 4 * fast_width
    stages[CLASSIFIER] = PathwayClassifier(slow + fast, classes, dropout)
    return Backbone(stages, SPEC)
