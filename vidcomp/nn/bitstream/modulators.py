"""Encoders of P-frames: convolutions shared by all of them, then a state each that sums up a group of pictures.

A spiking modulator fires, and is read out as its rate over the group. Of the others, which tell what spikes are worth,
``leaky`` is the same integrator without spikes, ``gru`` a gated recurrent unit at every place, and ``mean`` no state at
all. Steps that a short group lacks come last and count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.bitstream.neurons import LIF
from vidcomp.nn.layers import FramewiseConv3d

Modulation = Literal["spiking", "leaky", "gru", "mean"]
MODULATIONS: tuple[Modulation, ...] = get_args(Modulation)


def mean_over_steps(values: Tensor, present: Tensor) -> Tensor:
    """The mean (G, C, H, W) of values (G, C, P, H, W) over the steps that are ``present`` (G, P); 0 where none is."""
    weights = present.to(values.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("gcphw,gp->gchw", values, weights)


class Mean(nn.Module):
    """The mean over the steps."""

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (G, C, P, H, W) to (G, C, H, W)."""
        return mean_over_steps(F.relu(values), present)


class Spiking(nn.Module):
    """How often neurons fire over the steps: from 0 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.neurons = LIF(channels)

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (G, C, P, H, W) to rates (G, C, H, W)."""
        return mean_over_steps(self.neurons(values), present)


class Leaky(nn.Module):
    """A leaky integrator: u ← λu + (1 − λ)x, read out after ReLU as its mean over the steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._leak = nn.Parameter(torch.full((channels,), 2.0))

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (G, C, P, H, W) to (G, C, H, W)."""
        leak = self._leak.sigmoid().view(1, -1, 1, 1)
        state = torch.zeros_like(values[:, :, 0])
        states = []
        for step in values.unbind(dim=2):
            state = leak * state + (1 - leak) * step
            states.append(state)
        return mean_over_steps(F.relu(torch.stack(states, dim=2)), present)


class Gated(nn.Module):
    """A gated recurrent unit at every place, its weights shared by all; read out as the mean of its states."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unit = nn.GRU(channels, channels, batch_first=True)

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (G, C, P, H, W) to (G, C, H, W)."""
        groups, channels, steps, height, width = values.shape
        places = values.permute(0, 3, 4, 2, 1).reshape(-1, steps, channels)
        states = self.unit(places)[0].view(groups, height, width, steps, channels)
        return mean_over_steps(states.permute(0, 4, 3, 1, 2), present)


_MODULATORS: dict[Modulation, type[nn.Module]] = {"spiking": Spiking, "leaky": Leaky, "gru": Gated, "mean": Mean}


class PEncoder(nn.Module):
    """Convolutions over the pictures of all steps, a modulator over the steps, and a grid of tokens."""

    def __init__(
        self, convolutions: nn.Module, width: int, outputs: int, grid: int, modulation: Modulation = "spiking"
    ) -> None:
        """Build it.

        Args:
            convolutions: what maps pictures (G, C, P, H, W) to features of each.
            width: channels of these features.
            outputs: channels of a token.
            grid: tokens along each side.
            modulation: what sums up the steps, one of :data:`MODULATIONS`.

        Raises:
            ValueError: there is no such modulation.
        """
        if modulation not in _MODULATORS:
            raise ValueError(f"modulation must be one of {', '.join(MODULATIONS)}, not {modulation!r}")
        super().__init__()
        self.grid = grid
        self.convolutions = convolutions
        self.modulator = _MODULATORS[modulation](*([] if modulation == "mean" else [width]))
        self.project = nn.Linear(width, outputs)

    def forward(self, pictures: Tensor, present: Tensor) -> Tensor:
        """Map pictures (G, C, P, H, W), present (G, P) or not, to tokens (G, D, grid, grid)."""
        states = self.modulator(self.convolutions(pictures), present)
        pooled = F.adaptive_avg_pool2d(states, (self.grid, self.grid))
        tokens: Tensor = self.project(pooled.movedim(1, -1))
        return tokens.movedim(-1, 1)


def plain_convolutions(inputs: int, layers: Sequence[tuple[int, int]]) -> nn.Sequential:
    """Convolutions of so many channels and such a spatial stride each, over pictures of ``inputs`` channels."""
    # Vectors and residuals are small, and far from normal: the BatchNorm of the raw input scales them.
    modules: list[nn.Module] = [nn.BatchNorm3d(inputs)]
    for number, (width, stride) in enumerate(layers):
        modules += [nn.ReLU()] if number else []
        modules += [FramewiseConv3d(inputs, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)]
        modules += [nn.BatchNorm3d(width)]
        inputs = width
    return nn.Sequential(*modules)
