"""Selective Feature Compression (Liu et al., ICCV 2021): attention that keeps T/τ frames of T.

Section 3.1 and equations 3–5. What the text leaves open is settled by the paper's own parameter and FLOP columns:

* the abstraction is two bottleneck blocks C → C/2 → C without temporal extent, the first of which halves height and
  width, so that q and k live at (H/2, W/2), rounded up, while v stays as the head made it;
* θ_q runs on the frames that pooling kept, θ_k on all of them; neither has a bias;
* the map is temporal, T/τ × T, its products taken over all channels and positions and divided by the square root of
  how many those are (the paper names no scale).

TopK pooling ranks whole frames by their mean activation and keeps the chosen ones in the order of time. The text also
allows the k largest values of every channel and position, taken apart; ranking frames keeps q a set of real frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.compressors.base import Compressed, Compressor


class AbstractionBlock(nn.Module):
    """A residual bottleneck C → C/2 → C on single frames; the strided one projects its shortcut."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        spatial = (1, stride, stride)
        self.reduce = nn.Conv3d(channels, inner, 1, bias=False)
        self.reduce_bn = nn.BatchNorm3d(inner)
        self.spatial = nn.Conv3d(inner, inner, (1, 3, 3), stride=spatial, padding=(0, 1, 1), bias=False)
        self.spatial_bn = nn.BatchNorm3d(inner)
        self.expand = nn.Conv3d(inner, channels, 1, bias=False)
        self.expand_bn = nn.BatchNorm3d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, channels, 1, stride=spatial, bias=False), nn.BatchNorm3d(channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, T, H/stride, W/stride)."""
        inner = F.relu(self.reduce_bn(self.reduce(features)))
        inner = F.relu(self.spatial_bn(self.spatial(inner)))
        out: Tensor = F.relu(self.expand_bn(self.expand(inner)) + self.shortcut(features))
        return out


class SFC(Compressor):
    """Compress T frames of features to T/τ by attending to all of them.

    ``tau`` may be changed between calls: no weight depends on it.
    """

    kind = "sfc"

    def __init__(self, channels: int, tau: float = 2.0) -> None:
        super().__init__()
        self.tau = tau
        self.abstraction = nn.Sequential(AbstractionBlock(channels, stride=2), AbstractionBlock(channels, stride=1))
        self.theta_q = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.theta_k = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)

    @property
    def tau(self) -> float:
        """Compression ratio: T frames become round(T/τ), never fewer than one."""
        return self._tau

    @tau.setter
    def tau(self, value: float) -> None:
        if not value >= 1:
            raise ValueError(f"tau must be a number of at least 1, not {value}")
        self._tau = float(value)

    def kept_frames(self, frames: int) -> int:
        """How many of ``frames`` the output has: T/τ rounded to the nearest (halves up), at least one."""
        return max(1, int(frames / self.tau + 0.5))

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress (N, C, T, H, W) to (N, C, T/τ, H, W); the map, where asked for, has rows that sum to 1."""
        abstracted = self.abstraction(features)
        pooled = topk_frames(abstracted, self.kept_frames(features.shape[2]))
        query = _flatten_frames(self.theta_q(pooled))
        key = _flatten_frames(self.theta_k(abstracted))
        value = _flatten_frames(features)
        attention = None
        if need_attention:
            attention = torch.softmax(query @ key.transpose(1, 2) / key.shape[2] ** 0.5, dim=-1)
            flat = attention @ value
        else:
            flat = F.scaled_dot_product_attention(query, key, value)
        n, c, _, h, w = features.shape
        return Compressed(flat.view(n, -1, c, h, w).transpose(1, 2), attention)


def topk_frames(features: Tensor, keep: int) -> Tensor:
    """Keep the ``keep`` frames of (N, C, T, H, W) with the highest mean activation, in the order of time."""
    kept = features.mean(dim=(1, 3, 4)).topk(keep, dim=1).indices.sort(dim=1).values
    n, c, _, h, w = features.shape
    return features.gather(2, kept.view(n, 1, keep, 1, 1).expand(n, c, keep, h, w))


def _flatten_frames(features: Tensor) -> Tensor:
    """(N, C, T, H, W) to (N, T, C·H·W), a vector a frame."""
    return features.transpose(1, 2).flatten(2)
