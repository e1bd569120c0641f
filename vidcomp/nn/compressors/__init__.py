"""Compressors by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.compressors.base import Attention, Compressed, Compressor, Features, FeaturesError, Identity, Ragged
from vidcomp.nn.compressors.saliency import SalientFrames, SalientSFC, build_sfc
from vidcomp.nn.compressors.sfc import SFC, RatioCompressor
from vidcomp.nn.compressors.sgs import SGS, PathwaySGS, build_sgs

# Each builder takes the number of channels at the cut and the manifest's options.
COMPRESSORS: dict[str, Callable[..., Compressor]] = {
    "identity": Identity,
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
