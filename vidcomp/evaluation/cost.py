"""Parameters and multiply-accumulates of a model, part by part, without allocating or running it.

The papers' "FLOPs" are multiply-accumulates; a GMAC here is one of their GFLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidcomp.inference.prediction import ForwardStats
from vidcomp.nn.bitstream.modulators import PEncoder, Spiking
from vidcomp.nn.compressors import Features, Ragged
from vidcomp.nn.video_model import blank_input
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.zoo.build import build_network
from vidcomp.zoo.manifest import Manifest

# Layers that count for nothing, keep the shape, and without which a pass is counted in half the time.
_NO_MACS = (nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Sigmoid)


@dataclass(frozen=True)
class CostBreakdown:
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


def parameters(network: CompressedModel, *, batch_norm: bool = True) -> CostBreakdown:
    """Count the parameters of each part; without BatchNorm's where asked for, as the papers' tables do."""

    def count(modules: Iterable[nn.Module]) -> int:
        return sum(
            parameter.numel()
            for module in modules
            for child in module.modules()
            if batch_norm or not isinstance(child, nn.modules.batchnorm._BatchNorm)
            for parameter in child.parameters(recurse=False)
        )

    return CostBreakdown(count([network.head]), count(network.compressors), count(list(network.segments)[1:]))


def gmacs(network: CompressedModel, frames: int, height: int, width: int, *, kept: Sequence[int] = ()) -> CostBreakdown:
    """Count the GMACs of one pass of ``frames`` frames (those entering the network) of height × width pixels.

    The network must have been built under ``torch.device("meta")``, so that nothing is computed.

    Args:
        network: the model.
        frames: frames entering the network.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        kept: how many frames each compressor kept, in the network's order. It is asked for where that depends on the
            video (SGS, SFC by saliency); where it is 0 or absent there, they are all that could be kept. In a network
            of several pathways this is the last pathway's number, and the others keep the same share of their frames.

    Raises:
        ValueError: a number is out of range.
    """
    with torch.device("meta"), torch.inference_mode():
        features: Any = blank_input(network.spec, frames, height, width)
        counts = {"head": 0.0, "compressor": 0.0, "tail": 0.0}
        for index, segment in enumerate(network.segments):
            with FlopCounterMode(display=False) as counter:
                features = segment(features)
            counts["tail" if index else "head"] += counter.get_total_flops() / 2e9
            if index < len(network.compressors):
                with FlopCounterMode(display=False) as counter:
                    compressed = network.compressors[index](features).features
                counts["compressor"] += counter.get_total_flops() / 2e9
                if isinstance(compressed, Ragged):
                    compressed = compressed.videos[0]
                    if index < len(kept) and kept[index]:
                        compressed = _keep_frames(compressed, kept[index])
                features = compressed
    return CostBreakdown(**counts)


def _keep_frames(features: Features, frames: int) -> Features:
    """Shorten one video's features to ``frames`` frames, or its pathways to the same share of theirs."""
    if isinstance(features, Tensor):
        if not 1 <= frames <= features.shape[2]:
            raise ValueError(f"kept frames must lie between 1 and {features.shape[2]}, not {frames}")
        return features[:, :, :frames]
    most = features[-1].shape[2]
    if not 1 <= frames <= most:
        raise ValueError(f"kept frames must lie between 1 and {most}, not {frames}")
    return tuple(part[:, :, : max(1, round(part.shape[2] * frames / most))] for part in features)


def _leave_out(kinds: tuple[type[nn.Module], ...], network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, kinds):
                setattr(module, name, nn.Identity())


class ModelCost:
    """What a model costs, told from its structure alone: its parameters, and the GMACs of any video's passes."""

    def __init__(self, manifest: Manifest) -> None:
        with torch.device("meta"):
            network = build_network(manifest).eval()
        self.params = int(parameters(network).total)
        _leave_out(_NO_MACS, network)

        @lru_cache(maxsize=1024)
        def of_one(frames: int, height: int, width: int, kept: tuple[int, ...]) -> float:
            return gmacs(network, frames, height, width, kept=kept).total

        self._of_one = of_one

    def gmacs(self, passes: ForwardStats) -> float:
        """GMACs of a video's passes; those of one shape, of which as many frames were kept, are counted once."""
        return passes.count * float(self._of_one(passes.frames, passes.height, passes.width, passes.kept))


class Accumulates:
    """Counts what a network's spikes would cost on hardware that adds on a spike, and multiplies nothing.

    A spike adds one column of the layer that reads it out, which is as many accumulates as that has outputs. CPUs and
    GPUs save nothing by spikes: the GMACs count those layers whole.
    """

    def __init__(self, network: nn.Module) -> None:
        self._encoders = [
            part for part in network.modules() if isinstance(part, PEncoder) and isinstance(part.modulator, Spiking)
        ]
        self._count = 0.0
        for encoder in self._encoders:
            encoder.modulator.register_forward_hook(self._counting(encoder.project.out_features))

    def take(self) -> float | None:
        """Accumulates since the last call; ``None`` if the network has no spiking neurons."""
        count, self._count = self._count, 0.0
        return count if self._encoders else None

    def _counting(self, outputs: int) -> Callable[[nn.Module, tuple[Tensor, Tensor], Tensor], None]:
        def count(_: nn.Module, inputs: tuple[Tensor, Tensor], rates: Tensor) -> None:
            steps = inputs[1].sum(dim=1).view(-1, 1, 1, 1)
            self._count += float((rates.detach() * steps).sum()) * outputs

        return count
