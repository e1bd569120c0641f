"""Leaky integrate-and-fire neurons whose leak and threshold are learned, and whose threshold rises as they fire.

For each channel, with input x and steps t = 1, 2, …, from u₀ = a₀ = s₀ = θ'₀ = 0::

    θₜ = θ + β aₜ₋₁                      the threshold, raised by recent spikes
    uₜ = λ uₜ₋₁ + xₜ − θₜ₋₁ sₜ₋₁          the membrane leaks, takes its input, and is reset by what it fired
    sₜ = 1 if uₜ ≥ θₜ else 0              the spike
    aₜ = ρ aₜ₋₁ + sₜ                      the trace of spikes, which fades

0 < λ, ρ < 1 and θ, β > 0 are learned, one of each per channel. A spike has no gradient worth the name; backwards, the
derivative of an arctangent stands for it (Fang et al., ICCV 2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPNESS = 2.0
"""Of the surrogate: its derivative at the threshold is half of this."""


class _Spike(torch.autograd.Function):
    """1 where the argument is at least 0, else 0; backwards (α/2) / (1 + (π/2 · α x)²)."""

    @staticmethod
    def forward(ctx: Any, over: Tensor) -> Tensor:
        ctx.save_for_backward(over)
        return (over >= 0).to(over.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (over,) = ctx.saved_tensors
        slope: Tensor = (SHARPNESS / 2) / (1 + (math.pi / 2 * SHARPNESS * over) ** 2)
        return gradients[0] * slope


def spike(over: Tensor) -> Tensor:
    """1 where the membrane is at or over the threshold (``over`` ≥ 0), else 0, with the surrogate's gradient."""
    spikes: Tensor = _Spike.apply(over)
    return spikes


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons, one kind for each channel; their state is zero at the first step."""

    def __init__(self, channels: int, *, leak: float = 0.9, threshold: float = 1.0, fading: float = 0.5) -> None:
        """Start with this λ, θ and ρ for all channels, and β = 0.1.

        Raises:
            ValueError: leak or fading is not within 0 and 1, or the threshold not positive.
        """
        if not (0 < leak < 1 and 0 < fading < 1 and threshold > 0):
            raise ValueError(f"leak and fading lie within 0 and 1, thresholds above 0: {leak}, {fading}, {threshold}")
        super().__init__()
        self._leak = nn.Parameter(torch.full((channels,), math.log(leak / (1 - leak))))
        self._fading = nn.Parameter(torch.full((channels,), math.log(fading / (1 - fading))))
        self._threshold = nn.Parameter(torch.full((channels,), math.log(math.expm1(threshold))))
        self._rise = nn.Parameter(torch.full((channels,), math.log(math.expm1(0.1))))

    @property
    def leak(self) -> Tensor:
        """λ (C,): what is left of the membrane's potential after a step."""
        return self._leak.sigmoid()

    @property
    def fading(self) -> Tensor:
        """ρ (C,): what is left of the trace of spikes after a step."""
        return self._fading.sigmoid()

    @property
    def threshold(self) -> Tensor:
        """θ (C,): the threshold of a neuron that has not fired."""
        return F.softplus(self._threshold)

    @property
    def rise(self) -> Tensor:
        """β (C,): how much a spike raises the threshold."""
        return F.softplus(self._rise)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (N, C, T, H, W) to spikes, 0 or 1, of the same shape."""
        leak, fading, rest, rise = (
            values.view(1, -1, 1, 1) for values in (self.leak, self.fading, self.threshold, self.rise)
        )
        membrane = trace = reset = torch.zeros_like(inputs[:, :, 0])
        spikes = []
        for step in inputs.unbind(dim=2):
            threshold = rest + rise * trace
            membrane = leak * membrane + step - reset
            fired = spike(membrane - threshold)
            reset = threshold * fired
            trace = fading * trace + fired
            spikes.append(fired)
        return torch.stack(spikes, dim=2)
