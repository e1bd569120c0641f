"""Similarity Guided Sampling (Fayyaz et al., CVPR 2021): frames that look alike become one.

A small network gives every frame a similarity Δ (section 4.1, equation 1 and appendix D of the paper); frames whose Δ
fall into the same of B bins are summed to one output frame, and empty bins are dropped. How many remain (B') is the
video's own: a still video keeps one, a busy one most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.compressors.base import Compressed, Compressor, Features, Ragged
from vidcomp.nn.compressors.binning import (
    BinAssignment,
    Kernel,
    assign_bins,
    check_bins,
    check_finite,
    check_kernel,
    similarity_guided_sampling,
)

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


__all__ = ["SGS", "PathwaySGS", "build_sgs", "similarity_guided_sampling"]

_EMBEDDING = 8
# The splits of the paper's 32 bins (section 5.2.1): angles 4×8; radius 2, angles 4×4. Both need L = 3.
_MULTI_DIMENSIONAL_BINS: dict[Similarity, tuple[int, ...]] = {"angular": (4, 8), "spherical": (2, 4, 4)}


class SGS(Compressor):
    """Compress T frames to the B' ≤ min(B, T) that differ.

    ``bins`` may be changed between calls: no weight depends on it (appendix C). Output frames come in the order of
    their bins, which is that of Δ and not of time; the attention tells which input frames are in each.
    """

    kind = "sgs"

    def __init__(
        self,
        channels: int,
        *,
        bins: int | Sequence[int] | None = None,
        similarity: Similarity = "magnitude",
        kernel: Kernel = "linear",
        embedding: int | None = None,
        center: bool = False,
        block: int | None = None,
    ) -> None:
        """Build an SGS layer for features of ``channels`` channels.

        Args:
            channels: C of the features.
            bins: B; ``None`` for as many as there are frames (in a block), so that nothing need be lost. For
                "angular" and "spherical", one number for each of their coordinates.
            similarity: what of the similarity vectors is binned; "magnitude" is the paper's choice.
            kernel: "linear" (the paper's choice) or "kronecker", which averages the frames of a bin. Only the linear
                one trains the similarity network.
            embedding: L, the similarity space's dimensions: 8, or what ``bins`` need for several coordinates.
            center: measure similarity from the clip's mean embedding, as the authors' later code does.
            block: sample within blocks of this many frames (appendix A), each with bins of its own; the last block
                may be shorter.

        Raises:
            ValueError: an option is out of its range, or they do not fit together.
        """
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, not {similarity!r}")
        if block is not None and block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        self.similarity: Similarity = similarity
        self.kernel = check_kernel(kernel)
        self.block = block
        default = _MULTI_DIMENSIONAL_BINS.get(similarity)
        numbers = None if bins is None else check_bins(bins)
        if default is None:
            dimensions = _EMBEDDING if embedding is None else embedding
        else:
            numbers = numbers or default
            needed = len(numbers) + (1 if similarity == "angular" else 0)
            dimensions = needed if embedding is None else embedding
            if dimensions != needed or dimensions < 2:
                raise ValueError(
                    f"{similarity} similarity in {dimensions} dimensions does not fit {len(numbers)} numbers of bins"
                )
        if dimensions < 1:
            raise ValueError(f"embedding must be at least 1, not {dimensions}")
        self._coordinates = 1 if default is None else len(numbers or ())
        self.bins = numbers
        self.network = SimilarityNetwork(channels, dimensions, center)

    @property
    def bins(self) -> tuple[int, ...] | None:
        """Numbers of bins, one for each coordinate that is binned; ``None`` for as many as there are frames."""
        return self._bins

    @bins.setter
    def bins(self, value: int | Sequence[int] | None) -> None:
        numbers = None if value is None else check_bins(value)
        if self._coordinates != (1 if numbers is None else len(numbers)):
            raise ValueError(f"{self.similarity} similarity needs {self._coordinates} numbers of bins, not {value}")
        self._bins = numbers

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress (N, C, T, H, W) to N videos (1, C, B', H, W); attention: N maps (B', T), one weight a column.

        Raises:
            FeaturesError: NaN or infinite features (the message says in which frame), or no frames.
        """
        pooled = (
            features.flatten(3).mean(dim=3, dtype=torch.promote_types(features.dtype, torch.float32)).transpose(1, 2)
        )
        check_finite(pooled.detach())
        delta = coordinates_of(self.network(pooled), self.similarity)
        check_finite(delta.detach(), "similarities")
        videos: list[Features] = []
        maps: list[Tensor] = []
        for video, similarities in zip(features, delta, strict=True):
            step = self.block or features.shape[2]
            frames = video.transpose(0, 1).split(step)
            blocks = [self._assign(part) for part in similarities.split(step)]
            sampled = [bins.aggregate(part) for bins, part in zip(blocks, frames, strict=True)]
            joined = sampled[0] if len(sampled) == 1 else torch.cat(sampled)
            videos.append(joined.transpose(0, 1).unsqueeze(0))
            if need_attention:
                maps.append(torch.block_diag(*(bins.matrix() for bins in blocks)))
        return Compressed(Ragged(tuple(videos)), tuple(maps) if need_attention else None)

    def _assign(self, delta: Tensor) -> BinAssignment:
        return assign_bins(delta, self.bins or (len(delta),), self.kernel)


class PathwaySGS(Compressor):
    """An SGS layer in each pathway of a network that has several, such as SlowFast (appendix A).

    The pathways are sampled apart, each by its own similarity network, and leave with different lengths: the network
    must make them fit where it joins them.
    """

    kind = "sgs"

    def __init__(self, pathways: Sequence[SGS]) -> None:
        super().__init__()
        self.pathways = nn.ModuleList(pathways)

    def forward(self, features: Features, *, need_attention: bool = False) -> Compressed:
        """Compress pathways (N, C_p, T_p, H_p, W_p) to N videos.

        The attention is that of the last pathway, which in SlowFast is the fast one: it alone sees every frame that
        enters the network.
        """
        results = [
            sgs(pathway, need_attention=need_attention and pathway is features[-1])
            for sgs, pathway in zip(self.pathways, features, strict=True)
        ]
        videos = tuple(zip(*(result.features.videos for result in results), strict=True))
        return Compressed(Ragged(videos), results[-1].attention)


def build_sgs(
    channels: int | Sequence[int], *, block: int | Sequence[int] | None = None, **options: object
) -> SGS | PathwaySGS:
    """Build what a manifest's ``sgs`` means: one layer, or one per pathway where there are several numbers of channels.

    ``block`` may then hold one length a pathway (SlowFast: 2 in the slow, 8 in the fast one). The other options are
    those of :class:`SGS`.

    Raises:
        ValueError: an option is out of its range, or ``block`` has another number of pathways.
    """
    if isinstance(channels, int):
        if block is not None and not isinstance(block, int):
            raise ValueError(f"block must be one number, as this network has one pathway, not {block}")
        return SGS(channels, block=block, **options)  # type: ignore[arg-type]
    blocks = [block] * len(channels) if block is None or isinstance(block, int) else list(block)
    if len(blocks) != len(channels):
        raise ValueError(f"block needs {len(channels)} numbers, one per pathway, not {block}")
    return PathwaySGS([build_sgs(c, block=b, **options) for c, b in zip(channels, blocks, strict=True)])  # type: ignore[misc]
