"""Compressors by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.compressors.base import Attention, Compressed, Compressor, Features, FeaturesError, Identity, Ragged
from vidcomp.nn.compressors.sfc import SFC
from vidcomp.nn.compressors.sgs import SGS, PathwaySGS, build_sgs

# Each builder takes the number of channels at the cut and the manifest's options.
COMPRESSORS: dict[str, Callable[..., Compressor]] = {
    "identity": lambda channels: Identity(),
    "sfc": SFC,
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
    "build_sgs",
]
