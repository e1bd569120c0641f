"""Similarity bins and the differentiable sampling from them (sections 4.2–4.4, appendix D of the SGS paper).

Every frame lies in exactly one bin, so that a frame has one weight and one output row: sampling is a scaled
``index_add`` over frames, linear in their number. No B×T×C×H×W product is ever made.

Where the paper needs a ruling:

* An edge between two bins belongs to the lower one (Δmax, the upper edge of the last bin, to the last). The linear
  kernel is 0 there, but the frame must not vanish: its weight is :data:`EDGE_WEIGHT`, without a gradient.
* Δmax = 0 puts every frame at the center of one bin, with weight 1 and without a gradient.
* β and γ are constants in equation 8, so no gradient flows through Δmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vidcomp.nn.compressors.base import FeaturesError

Kernel = Literal["linear", "kronecker"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

# Weight of a frame on the edge of its bin: too small to matter beside any other frame, large enough for half floats.
EDGE_WEIGHT = 1e-6
# Rounding of Δ/Δmax·B, in units of the type's precision: (5/6)·6 must still be the edge 5.
_EDGE_TOLERANCE = 8


@dataclass(frozen=True)
class BinAssignment:
    """Which output frame each of T frames goes to.

    ``rows`` (T,) are indices of active bins in the order of b, ``weights`` (T,) the kernel's values, and ``active``
    is B', the number of active bins.
    """

    rows: Tensor
    weights: Tensor
    active: int

    def matrix(self) -> Tensor:
        """The weights as a matrix (B', T): one positive number a column."""
        frames = torch.arange(len(self.rows), device=self.rows.device)
        matrix = self.weights.new_zeros(self.active, len(self.rows))
        return matrix.index_put((self.rows, frames), self.weights)

    def aggregate(self, frames: Tensor) -> Tensor:
        """Sum the weighted frames (T, C, H, W) of each active bin to (B', C, H, W) (equation 4).

        The result lies in memory as the frames do, so that the adding runs along memory and the tail finds the
        layout (``channels_last_3d``) that the head left. The sums of half floats are float32 numbers: a bin may hold
        more frames than half floats can count or hold the sum of.
        """
        exact = torch.promote_types(frames.dtype, torch.float32)
        weighted = frames.to(exact) * self.weights.to(exact).view(-1, 1, 1, 1)
        strides = frames.stride()
        by_stride = sorted(range(4), key=lambda d: (-strides[d], -frames.shape[d]))
        shape = (self.active, *frames.shape[1:])
        output = weighted.new_zeros([shape[d] for d in by_stride])
        output = output.permute([by_stride.index(d) for d in range(4)])
        return output.index_add_(0, self.rows, weighted)


def check_kernel(kernel: str) -> Kernel:
    """Return ``kernel`` if it is one; ValueError otherwise."""
    for known in KERNELS:
        if kernel == known:
            return known
    raise ValueError(f"kernel must be {' or '.join(KERNELS)}, not {kernel!r}")


def check_bins(bins: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of bins, one a coordinate of Δ; ValueError unless each is a whole number of at least 1."""
    numbers = tuple(bins) if isinstance(bins, Sequence) else (bins,)
    if not numbers or any(not isinstance(b, int) or isinstance(b, bool) or b < 1 for b in numbers):
        raise ValueError(f"bins must be at least 1, not {bins}")
    return numbers


def assign_bins(delta: Tensor, bins: Sequence[int], kernel: Kernel) -> BinAssignment:
    """Put T frames into similarity bins (equations 2, 3 and 9).

    ``delta`` (T, K) holds K finite coordinates ≥ 0 per frame and ``bins`` their K numbers of bins. On the ``meta``
    device, where nothing is known of Δ, as many bins are active as can be.
    """
    frames = len(delta)
    if delta.is_meta:
        active = min(frames, math.prod(bins))
        rows = torch.empty(frames, dtype=torch.long, device="meta")
        return BinAssignment(rows, delta.new_empty(frames), active)
    if delta.dtype in (torch.float16, torch.bfloat16):
        delta = delta.float()
    numbers = torch.tensor(bins, device=delta.device)
    maximum = delta.detach().amax(dim=0)
    degenerate = maximum < torch.finfo(delta.dtype).tiny
    # In units of bins: the edges are whole numbers, the center of bin b is b − ½ and γ is ½.
    position = torch.where(degenerate, 0.5, delta / torch.where(degenerate, 1.0, maximum) * numbers)
    tolerance = _EDGE_TOLERANCE * torch.finfo(delta.dtype).eps
    fixed = position.detach()
    bin_of = (fixed - tolerance * fixed).ceil().clamp(min=1).minimum(numbers)
    stride = [math.prod(bins[k + 1 :]) for k in range(len(bins))]
    cell = ((bin_of.long() - 1) * torch.tensor(stride, device=delta.device)).sum(dim=1)
    active, rows = torch.unique(cell, return_inverse=True)
    if kernel == "kronecker":
        weights = torch.bincount(rows, minlength=len(active)).to(delta.dtype).reciprocal()[rows]
    else:
        offset = 2 * (position - (bin_of - 0.5))
        # Not 1 − |offset|: at the center equation 8 takes the slope from the left, +1/γ, and abs would take 0.
        kernels = torch.where(offset <= 0, 1 + offset, 1 - offset)
        weights = kernels.clamp(min=0).prod(dim=1).clamp(min=EDGE_WEIGHT)
    return BinAssignment(rows, weights, len(active))


def similarity_guided_sampling(
    features: Tensor, delta: Tensor, bins: int | Sequence[int], kernel: Kernel = "linear"
) -> tuple[Tensor, Tensor]:
    """Sample one output frame from every active similarity bin (equations 2–6; several coordinates: equation 9).

    Args:
        features: (T, C, H, W), the frames.
        delta: (T,) similarities Δ ≥ 0, or (T, K) coordinates of them.
        bins: B, or K numbers of bins; more bins than frames are allowed.
        kernel: "linear" weighs a frame by its nearness to its bin's center and sums; "kronecker" averages.

    Returns:
        (B', C, H, W) frames in the order of b, and their weights (B', T). The gradients are those of equations 7 and
        8; the Kronecker kernel is flat, so that Δ has none.

    Raises:
        FeaturesError: no frames, or NaN or infinite values; the message names the first such frame.
        ValueError: shapes that do not fit, a negative Δ, an unknown kernel, or fewer bins than one.
    """
    numbers = check_bins(bins)
    coordinates = delta.unsqueeze(1) if delta.ndim == 1 else delta
    if features.ndim != 4 or coordinates.shape != (len(features), len(numbers)):
        raise ValueError(
            f"features (T, C, H, W) and delta (T,) or (T, {len(numbers)}) must agree, "
            f"not {tuple(features.shape)} and {tuple(delta.shape)}"
        )
    check_finite(features.detach()[None])
    check_finite(coordinates.detach()[None], "delta")
    if coordinates.detach().amin() < 0:
        raise ValueError("delta must not be negative: it is a magnitude")
    assignment = assign_bins(coordinates, numbers, check_kernel(kernel))
    return assignment.aggregate(features).to(features.dtype), assignment.matrix()


def check_finite(values: Tensor, what: str = "features") -> None:
    """Check values (N, T, …) of N videos.

    Raises:
        FeaturesError: there is no frame, or one is NaN or infinite; the message says which, counted from 0.
    """
    if values.shape[1] == 0:
        raise FeaturesError("there is no frame to compress")
    if values.is_meta:
        return
    bad = ~torch.isfinite(values).flatten(2).all(dim=2) if values.ndim > 2 else ~torch.isfinite(values)
    if bad.any():
        video, frame = bad.nonzero()[0].tolist()
        where = f" of video {video} in the batch" if len(values) > 1 else ""
        raise FeaturesError(f"{what} of frame {frame}{where} are NaN or infinite")
