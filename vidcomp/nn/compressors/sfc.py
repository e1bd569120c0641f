"""Selective Feature Compression (Liu et al., ICCV 2021): attention that keeps T/τ frames of T.

Section 3.1 and equations 3–5. What the text leaves open is settled by the paper's own parameter and FLOP columns:

* the abstraction is two bottleneck blocks C → C/2 → C without temporal extent, the first of which halves height and
  width, so that q and k live at (H/2, W/2), rounded up, while v stays as the head made it;
* θ_q runs on the frames that pooling kept, θ_k on all of them; neither has a bias;
* the map is temporal, T/τ × T, its products taken over all channels and positions and divided by the square root of
  how many those are (the paper names no scale).

TopK pooling ranks whole frames by their mean activation and keeps the chosen ones in the order of time. The text also
allows the k largest values of every channel and position, taken apart (``topk-elementwise``); ranking frames keeps q
a set of real frames, and is the default. Two poolings are not the paper's: ``max``, and ``even``, every τ-th frame,
for tails whose temporal kernels were trained on frames that are equally far apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.compressors.base import Compressed, Compressor
from vidcomp.nn.layers import FramewiseConv3d

# Table 6d: the kernels of θ_q and θ_k, by (time, height, width).
THETA_KERNELS: dict[str, tuple[int, int, int]] = {"3x1x1": (3, 1, 1), "1x1x1": (1, 1, 1), "3x3x3": (3, 3, 3)}

# Table 6c, in its order: what queries, keys and values are taken from.
QKV_CHOICES = ("head", "abstracted", "abstracted-qk")

_ABSTRACTED_AT_ONCE = 8  # frames, whose features stay in a CPU's cache


class AbstractionBlock(nn.Module):
    """A residual bottleneck C → C/2 → C on single frames; the strided one projects its shortcut."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        spatial = (1, stride, stride)
        self.reduce = FramewiseConv3d(channels, inner, 1, bias=False)
        self.reduce_bn = nn.BatchNorm3d(inner)
        self.spatial = FramewiseConv3d(inner, inner, (1, 3, 3), stride=spatial, padding=(0, 1, 1), bias=False)
        self.spatial_bn = nn.BatchNorm3d(inner)
        self.expand = FramewiseConv3d(inner, channels, 1, bias=False)
        self.expand_bn = nn.BatchNorm3d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                FramewiseConv3d(channels, channels, 1, stride=spatial, bias=False), nn.BatchNorm3d(channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, T, H/stride, W/stride)."""
        inner = F.relu(self.reduce_bn(self.reduce(features)))
        inner = F.relu(self.spatial_bn(self.spatial(inner)))
        out: Tensor = F.relu(self.expand_bn(self.expand(inner)) + self.shortcut(features))
        return out


class RatioCompressor(Compressor):
    """One that compresses T frames to T/τ; ``tau`` may be changed between calls: no weight depends on it."""

    kind = "sfc"

    @property
    def tau(self) -> float:
        """Compression ratio: T frames become round(T/τ), never fewer than one."""
        return self._tau

    @tau.setter
    def tau(self, value: float) -> None:
        if not (_is_number(value) and 1 <= value < math.inf):
            raise ValueError(f"tau must be a number of at least 1, not {value!r}")
        self._tau = float(value)

    def kept_frames(self, frames: int) -> int:
        """How many of ``frames`` the output has: T/τ rounded to the nearest (halves up), at least one."""
        return max(1, int(frames / self.tau + 0.5))


class SFC(RatioCompressor):
    """Compress T frames of features to T/τ by attending to all of them."""

    def __init__(
        self,
        channels: int,
        tau: float = 2.0,
        pooling: str = "topk",
        qkv: str = "abstracted-qk",
        theta_kernel: str = "3x1x1",
        scale: float | None = None,
    ) -> None:
        """Build SFC for features of ``channels`` channels.

        Args:
            channels: C at the cut.
            tau: compression ratio, at least 1 (table 3).
            pooling: how q gets from T to T/τ frames (table 6b), a key of :data:`POOLINGS`.
            qkv: what attends to what (table 6c). ``abstracted-qk``, the paper's own: q and k from the abstraction,
                v the head's features. ``head``: all three the head's, without abstraction, as in self-attention.
                ``abstracted``: all three from the abstraction, which then keeps height and width, as the tail
                needs them.
            theta_kernel: kernel of θ_q and θ_k (table 6d), a key of :data:`THETA_KERNELS`.
            scale: factor on the products q·k before the softmax; by default 1/√(channels × positions of k).

        Raises:
            ValueError: an option has a value other than these.
        """
        super().__init__()
        self.tau = tau
        self.pooling = _choice("pooling", pooling, POOLINGS)
        self.qkv = _choice("qkv", qkv, dict.fromkeys(QKV_CHOICES))
        if scale is not None and not (_is_number(scale) and 0 < scale < math.inf):
            raise ValueError(f"scale must be a positive number, or absent for 1/√(channels × positions), not {scale!r}")
        self.scale = scale
        self.abstraction: nn.Module = nn.Identity()
        if qkv != "head":
            first_stride = 2 if qkv == "abstracted-qk" else 1
            self.abstraction = nn.Sequential(AbstractionBlock(channels, first_stride), AbstractionBlock(channels, 1))
        kernel = THETA_KERNELS[_choice("theta_kernel", theta_kernel, THETA_KERNELS)]
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.theta_q = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)
        self.theta_k = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress (N, C, T, H, W) to (N, C, T/τ, H, W); the map, where asked for, has rows that sum to 1.

        Equations 3–5. The products q·k are float32 numbers, and q is scaled before them: over all channels and
        positions they sum to more than half floats hold.
        """
        abstracted = self._abstracted(features)
        attended_to = abstracted if self.qkv == "abstracted" else features
        pooled = POOLINGS[self.pooling](abstracted, self.kept_frames(features.shape[2]))
        exact = torch.promote_types(features.dtype, torch.float32)
        query = _flatten_frames(self.theta_q(pooled)).to(exact)
        key = _flatten_frames(self.theta_k(abstracted)).to(exact)
        value = _flatten_frames(attended_to)
        scale = self.scale if self.scale is not None else key.shape[2] ** -0.5
        # The meta device knows no autocast.
        with torch.autocast("cpu" if features.is_meta else features.device.type, enabled=False):
            attention = torch.softmax(query * scale @ key.transpose(1, 2), dim=-1)
            flat = attention.to(value.dtype) @ value
        n, c, _, h, w = features.shape
        return Compressed(flat.view(n, -1, h, w, c).permute(0, 4, 1, 2, 3), attention if need_attention else None)

    def _abstracted(self, features: Tensor) -> Tensor:
        """The abstraction, of a few frames at a time: what lies between its layers is larger than its result."""
        if self.training:  # BatchNorm's statistics are over all frames
            abstracted: Tensor = self.abstraction(features)
            return abstracted
        return torch.cat([self.abstraction(part) for part in features.split(_ABSTRACTED_AT_ONCE, dim=2)], dim=2)


@torch.no_grad()
def start_near_identity(sfc: SFC, gain: float = 1.0) -> None:
    """Let θ_q and θ_k start as ``gain`` times the identity, so that kept frames attend to themselves and their likes.

    The attention's logits grow with the gain's square: a gain of 1 makes it all but one-hot, from which little can be
    learned; smaller ones spread it over frames that look alike.
    """
    for theta in (sfc.theta_q, sfc.theta_k):
        nn.init.dirac_(theta.weight)
        theta.weight.mul_(gain)


@torch.no_grad()
def start_at_own_frames(sfc: SFC, gain: float = 4.0) -> None:
    """Let every kept frame attend to itself, and to others where a video stands still.

    The abstraction starts as the features themselves, its residual branches as 0. Features that are never negative have
    products that tell bright frames from dark ones rather than like from unlike: θ_q therefore starts as the second
    difference in time, in which what all frames have in common cancels, and θ_k as the identity, both ``gain`` times.
    """
    start_near_identity(sfc, gain)
    if sfc.theta_q.kernel_size[0] == 3:
        middle = sfc.theta_q.weight[:, :, 1].clone()
        sfc.theta_q.weight[:, :, 0] = sfc.theta_q.weight[:, :, 2] = -middle / 2
    for block in sfc.abstraction.children():
        assert isinstance(block, AbstractionBlock)
        nn.init.zeros_(block.expand_bn.weight)
        if isinstance(block.shortcut, nn.Sequential):
            nn.init.dirac_(block.shortcut.get_submodule("0").get_parameter("weight"))


def topk_frames(features: Tensor, keep: int) -> Tensor:
    """Keep the ``keep`` frames of (N, C, T, H, W) with the highest mean activation, in the order of time.

    Of equal frames the earlier is kept, so that the choice is the same on every run.
    """
    # Half floats have too few digits to tell the means of frames that look alike apart.
    means = features.mean(dim=(1, 3, 4), dtype=torch.promote_types(features.dtype, torch.float32))
    ranked = means.argsort(dim=1, descending=True, stable=True)
    kept = ranked[:, :keep].sort(dim=1).values
    n, c, _, h, w = features.shape
    return features.gather(2, kept.view(n, 1, keep, 1, 1).expand(n, c, keep, h, w))


def topk_elements(features: Tensor, keep: int) -> Tensor:
    """Keep the ``keep`` largest values over time of every channel and position of (N, C, T, H, W), in time order."""
    kept = features.topk(keep, dim=2).indices.sort(dim=2).values
    return features.gather(2, kept)


def evenly_spaced_frames(features: Tensor, keep: int) -> Tensor:
    """Keep ``keep`` frames of (N, C, T, H, W), as far apart as can be, beginning with the first."""
    frames = features.shape[2]
    return features[:, :, [-(-number * frames // keep) for number in range(keep)]]


def average_frames(features: Tensor, keep: int) -> Tensor:
    """Average (N, C, T, H, W) within ``keep`` windows of time that cover all frames."""
    return F.adaptive_avg_pool3d(features, (keep, *features.shape[3:]))


def max_frames(features: Tensor, keep: int) -> Tensor:
    """Take the maxima of (N, C, T, H, W) within ``keep`` windows of time that cover all frames."""
    return F.adaptive_max_pool3d(features, (keep, *features.shape[3:]))


# Table 6b: pool(q) by its name in manifests.
POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "topk": topk_frames,
    "topk-elementwise": topk_elements,
    "even": evenly_spaced_frames,
    "average": average_frames,
    "max": max_frames,
}


def _choice(key: str, value: object, allowed: Mapping[str, object]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flatten_frames(features: Tensor) -> Tensor:
    """(N, C, T, H, W) to (N, T, H·W·C), a vector per frame; without a copy where memory is channels_last_3d."""
    return features.permute(0, 2, 3, 4, 1).flatten(2)
