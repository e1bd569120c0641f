"""Parameters and multiply-accumulates of a model, part by part, without allocating or running it.

The papers' "FLOPs" are multiply-accumulates; a GMAC here is one of their GFLOPs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidcomp.nn.compressed_model import CompressedModel


@dataclass(frozen=True)
class Parts:
    """One quantity of a model's head, its compressors together, and all that follows the first compressor."""

    head: float
    compressor: float
    tail: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.head + self.compressor + self.tail

    def as_dict(self, digits: int | None = None) -> dict[str, float]:
        """The parts and their total by name, rounded to ``digits`` decimals where given."""
        values = {"head": self.head, "compressor": self.compressor, "tail": self.tail, "total": self.total}
        return values if digits is None else {name: round(value, digits) for name, value in values.items()}


def parameters(network: CompressedModel, *, batch_norm: bool = True) -> Parts:
    """Count the parameters of each part; without BatchNorm's where asked for, as the papers' tables do."""

    def count(modules: Iterable[nn.Module]) -> int:
        return sum(
            parameter.numel()
            for module in modules
            for child in module.modules()
            if batch_norm or not isinstance(child, nn.modules.batchnorm._BatchNorm)
            for parameter in child.parameters(recurse=False)
        )

    return Parts(count([network.head]), count(network.compressors), count(list(network.segments)[1:]))


def gmacs(network: CompressedModel, frames: int, height: int, width: int) -> Parts:
    """Count the GMACs of one pass of ``frames`` frames (those entering the network) of height × width pixels.

    The network must have been built under ``torch.device("meta")``, so that nothing is computed.
    """
    with torch.device("meta"), torch.inference_mode():
        features = torch.empty(1, 3, frames, height, width)
        counts = {"head": 0.0, "compressor": 0.0, "tail": 0.0}
        for index, segment in enumerate(network.segments):
            with FlopCounterMode(display=False) as counter:
                features = segment(features)
            counts["tail" if index else "head"] += counter.get_total_flops() / 2e9
            if index < len(network.compressors):
                with FlopCounterMode(display=False) as counter:
                    features = network.compressors[index](features).features
                counts["compressor"] += counter.get_total_flops() / 2e9
    return Parts(**counts)
