"""Frame-wise convolutions give what Conv3d gives, in either memory layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcomp.nn.layers import FramewiseConv3d, few_at_a_time


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("kernel", "stride", "groups", "bias"), [(1, 1, 1, False), (3, 2, 1, True), (3, 1, 4, False)])
def test_frames_convolved_in_2d_equal_conv3d(
    layout: torch.memory_format, kernel: int, stride: int, groups: int, bias: bool
) -> None:
    torch.manual_seed(0)
    padding = (0, kernel // 2, kernel // 2)
    framewise = FramewiseConv3d(
        4, 8, (1, kernel, kernel), stride=(1, stride, stride), padding=padding, groups=groups, bias=bias
    ).to(memory_format=layout)
    reference = nn.Conv3d(
        4, 8, (1, kernel, kernel), stride=(1, stride, stride), padding=padding, groups=groups, bias=bias
    )
    reference.load_state_dict(framewise.state_dict())
    clip = torch.randn(2, 4, 3, 7, 6).contiguous(memory_format=layout)
    torch.testing.assert_close(framewise(clip), reference(clip))


def test_a_few_frames_at_a_time_give_the_same_and_gradients_are_left_whole() -> None:
    seen: list[int] = []

    def layers(features: torch.Tensor) -> torch.Tensor:
        seen.append(features.shape[2])
        return features.square().mean(dim=(3, 4), keepdim=True)

    features = torch.randn(2, 3, 11, 4, 5)
    expected = layers(features)
    with torch.inference_mode():
        torch.testing.assert_close(few_at_a_time(layers, features), expected)
    assert seen == [11, 4, 4, 3]
    few_at_a_time(layers, features.requires_grad_())
    assert seen[-1] == 11
