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
    teacher, student = SameConvBN(2, 3, kernel=3).eval(), SameConvBN(2, 3, kernel=3).eval()
    teacher.bn.running_mean, teacher.bn.running_var = torch.randn(3), torch.rand(3) + 1
    student.load_state_dict(teacher.state_dict())
    pairs = [(features, features[:, :, ::2]) for features in map(swinging, range(8))]
    refit_convolution("layer", teacher, student, pairs)
    full = swinging(100)
    wanted = teacher.bn(teacher.conv(full))[:, :, ::2]
    errors = {
        name: float((layer.bn(layer.conv(full[:, :, ::2])) - wanted)[:, :, 2:-2].abs().mean())
        for name, layer in (("before", teacher), ("after", student))
    }
    assert errors["after"] < 0.1 * errors["before"]


@torch.no_grad()
def test_a_layer_that_looks_at_single_frames_stays_as_it_is() -> None:
    torch.manual_seed(0)
    teacher, student = SameConvBN(2, 3).eval(), SameConvBN(2, 3).eval()
    student.load_state_dict(teacher.state_dict())
    refit_convolution("layer", teacher, student, [(part, part[:, :, ::2]) for part in map(swinging, range(8))])
    for name, tensor in teacher.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], tensor, atol=1e-2, rtol=0)
