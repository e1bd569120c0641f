"""Compressors by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.compressors.base import Compressed, Compressor
from vidcomp.nn.compressors.identity import Identity
from vidcomp.nn.compressors.sfc import SFC

# Each builder takes the number of channels at the cut and the manifest's options.
COMPRESSORS: dict[str, Callable[..., Compressor]] = {
    "identity": lambda channels: Identity(),
    "sfc": SFC,
}

__all__ = ["COMPRESSORS", "SFC", "Compressed", "Compressor", "Identity"]
