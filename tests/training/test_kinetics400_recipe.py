"""Refitting a convolution to fewer frames, where an exact answer exists."""

from __future__ import annotations

import torch
from torch import Tensor

from vidcomp.nn.backbones.i3d_inception import SameConvBN
from vidcomp.training.recipes.kinetics400_i3d import refit_convolution


def swinging(seed: int) -> Tensor:
    """Features (1, 2, 64, 6, 6) that swing at one frequency, each with an amplitude and a phase of its own."""
    sine, cosine = torch.randn(2, 1, 2, 1, 6, 6, generator=torch.Generator().manual_seed(seed)).unbind()
    angle = torch.arange(64.0).view(1, 1, -1, 1, 1) / 2
    return sine * angle.sin() + cosine * angle.cos()


@torch.no_grad()
def test_a_kernel_finds_between_its_frames_what_was_left_out() -> None:
    torch.manual_seed(0)
    layer = SameConvBN(2, 3, kernel=3).eval()
    layer.bn.running_mean, layer.bn.running_var = torch.randn(3), torch.rand(3) + 1
    full = swinging(100)
    wanted = layer.bn(layer.conv(full))[:, :, ::2]

    def error() -> float:
        return float((layer.bn(layer.conv(full[:, :, ::2])) - wanted)[:, :, 2:-2].abs().mean())

    before = error()
    refit_convolution(layer, [swinging(seed) for seed in range(8)])
    assert error() < 0.1 * before


@torch.no_grad()
def test_a_layer_that_looks_at_single_frames_stays_as_it_is() -> None:
    torch.manual_seed(0)
    layer = SameConvBN(2, 3).eval()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    refit_convolution(layer, [swinging(seed) for seed in range(8)])
    for name, tensor in layer.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=1e-2, rtol=0)
