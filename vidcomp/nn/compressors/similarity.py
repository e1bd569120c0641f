"""The similarity space of SGS: a small network, and the coordinates in which frames are compared.

Section 4.1, equation 1 and appendix D of the paper.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Similarity = Literal["magnitude", "angular", "spherical"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)

# Relative differences up to this are rounding of the head and the pool in float32.
_ROUNDING = 1e-5


class SimilarityNetwork(nn.Module):
    """Pooled frames (N, T, C) to similarity vectors Z (N, T, L): two 1-D convolutions of kernel 1, C → C → L.

    There is a ReLU between the two, without which they would be one. They have no bias: a bias is the same vector in
    every frame, and beside it the differences between frames, which are all that binning sees, shrink.

    With ``center`` the network is that of the authors' later code: C → C/2 → L, a BatchNorm over Z, and Z measured
    from its mean over the clip. In a still clip that distance is nothing but rounding, which bins would take for
    differences: a clip whose embeddings differ by less than rounding can make them counts as still, Z = 0.

    The network runs in the precision of its weights even under autocast: with the few digits of half floats many frames
    would share a bin by rounding alone.
    """

    def __init__(self, channels: int, embedding: int, center: bool) -> None:
        super().__init__()
        width = max(1, channels // 2) if center else channels
        # A convolution of kernel 1 over time is a linear layer on every frame.
        self.reduce = nn.Linear(channels, width, bias=False)
        self.embed = nn.Linear(width, embedding, bias=False)
        self.norm = nn.BatchNorm1d(embedding) if center else None

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, T, C) to (N, T, L)."""
        # The meta device knows no autocast.
        with torch.autocast("cpu" if pooled.is_meta else pooled.device.type, enabled=False):
            z: Tensor = self.embed(F.relu(self.reduce(pooled.to(self.embed.weight.dtype))))
            if self.norm is None:
                return z
            spread = (z - z.mean(dim=1, keepdim=True)).detach().abs().amax(dim=(1, 2), keepdim=True)
            differs = spread > _ROUNDING * z.detach().abs().amax(dim=(1, 2), keepdim=True)
            z = self.norm(z.flatten(0, 1)).view_as(z)
            return (z - z.mean(dim=1, keepdim=True)) * differs


def coordinates_of(z: Tensor, similarity: Similarity) -> Tensor:
    """Coordinates Δ (N, T, K), all ≥ 0, of similarity vectors Z (N, T, L).

    "magnitude" is the radius (K = 1, equation 1), "angular" the L − 1 angles and "spherical" the radius and the
    angles (appendix D). Angles lie in [0, π], the last one in [0, 2π); the angles of Z = 0 are 0.
    """
    parts = []
    if similarity != "angular":
        parts.append(torch.linalg.vector_norm(z, dim=-1, keepdim=True))
    if similarity != "magnitude":
        for k in range(z.shape[-1] - 2):
            rest = torch.linalg.vector_norm(z[..., k + 1 :], dim=-1)
            parts.append(_angle(rest, z[..., k]).unsqueeze(-1))
        last = _angle(z[..., -1], z[..., -2])
        parts.append(torch.where(last < 0, last + 2 * math.pi, last).unsqueeze(-1))
    return torch.cat(parts, dim=-1)


def _angle(opposite: Tensor, adjacent: Tensor) -> Tensor:
    """atan2 with the value 0 and no gradient where both are 0, instead of a gradient that is NaN."""
    undefined = (opposite == 0) & (adjacent == 0)
    return torch.atan2(opposite, torch.where(undefined, torch.ones_like(adjacent), adjacent))
