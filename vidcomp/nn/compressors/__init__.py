"""Compressors by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.compressors.base import Attention, Compressed, Compressor, Features, FeaturesError, Identity, Ragged
from vidcomp.nn.compressors.saliency import SalientFrames, SalientSFC
from vidcomp.nn.compressors.sfc import SFC, RatioCompressor
from vidcomp.nn.compressors.sgs import SGS, PathwaySGS, build_sgs


def build_sfc(channels: int, *, pooling: str = "topk", salient: bool = False, **options: object) -> RatioCompressor:
    """Build what a manifest's ``sfc`` means: :class:`SFC`, or with the pooling "salient" :class:`SalientFrames`.

    With ``salient`` it is :class:`SalientSFC`. The other options are theirs.

    Raises:
        ValueError: an option is out of its range.
    """
    if pooling == "salient":
        return SalientFrames(channels, **options)  # type: ignore[arg-type]
    if not isinstance(salient, bool):
        raise ValueError(f"salient must be true or false, not {salient!r}")
    return (SalientSFC if salient else SFC)(channels, pooling=pooling, **options)  # type: ignore[arg-type]


# Each builder takes the number of channels at the cut and the manifest's options.
COMPRESSORS: dict[str, Callable[..., Compressor]] = {
    "identity": lambda channels: Identity(),
    "sfc": build_sfc,
    "sgs": build_sgs,
}

__all__ = [
    "COMPRESSORS",
    "SFC",
    "SGS",
    "Attention",
    "Compressed",
    "Compressor",
    "Features",
    "FeaturesError",
    "Identity",
    "PathwaySGS",
    "Ragged",
    "RatioCompressor",
    "SalientFrames",
    "SalientSFC",
    "build_sfc",
    "build_sgs",
]
