"""The residual video networks: where they can be cut, what they stride, and that folding changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidcomp.nn.backbones import BACKBONES, CutError
from vidcomp.nn.backbones.r2plus1d import middle_channels
from vidcomp.nn.compressors import SFC
from vidcomp.nn.layers import fuse_bn

FAMILIES = ("slow_r50", "i3d_r50", "r2plus1d_34", "r2plus1d_50", "r2plus1d_r50", "tpn_r50")


def shake_batchnorm(network: nn.Module) -> None:
    """Give every BatchNorm statistics and weights that are not the neutral ones."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def batchnorms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_folding_changes_nothing_and_leaves_no_batchnorm(family: str) -> None:
    network = BACKBONES[family](classes=3).eval()
    shake_batchnorm(network)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        before = network(clip)
    count = batchnorms(network)
    assert fuse_bn(network) == count > 0
    assert batchnorms(network) == 0
    with torch.inference_mode():
        torch.testing.assert_close(network(clip), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("qkv", ["abstracted", "abstracted-qk"])
def test_folding_an_sfc_changes_nothing(qkv: str) -> None:
    sfc = SFC(8, qkv=qkv).eval()
    shake_batchnorm(sfc)
    features = torch.randn(1, 8, 6, 4, 4)
    with torch.inference_mode():
        before = sfc(features).features
        assert fuse_bn(sfc) > 0
        torch.testing.assert_close(sfc(features).features, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_declared_temporal_strides_are_what_the_stages_do(family: str) -> None:
    with torch.device("meta"):
        network = BACKBONES[family](classes=3).eval()
        features: Tensor = torch.empty(1, 3, 32, 64, 64)
        for name in network.cuts:
            (segment, *_) = network.split([name])
            assert segment(features).shape[2] == 32 // network.temporal_stride(name), name


def test_tpn_cannot_be_cut_where_two_tensors_travel() -> None:
    with torch.device("meta"):
        network = BACKBONES["tpn_r50"](classes=3).eval()
    assert network.cuts == ("stem", "res2", "res3", "res4")
    with pytest.raises(CutError, match=r"unknown cut 'res5': this backbone can be cut after stem, res2, res3, res4$"):
        network.split(["res5"])
    assert len(network.split(["res3", "res4"])) == 3


def test_tpn_takes_any_number_of_frames() -> None:
    with torch.device("meta"):
        network = BACKBONES["tpn_r50"](classes=3).eval()
        for frames in (1, 7, 8, 18):
            assert network(torch.empty(2, 3, frames, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(("inputs", "outputs", "expected"), [(64, 64, 144), (64, 128, 230), (128, 128, 288)])
def test_middle_channels_keep_the_parameters_of_the_3d_kernel(inputs: int, outputs: int, expected: int) -> None:
    assert middle_channels(inputs, outputs) == expected
    pair = expected * (9 * inputs + 3 * outputs)
    assert pair == pytest.approx(27 * inputs * outputs, rel=0.01)


@pytest.mark.parametrize(
    ("family", "allowed"),
    [("slow_r50", "4x16, 8x8, 16x4, 32x2"), ("i3d_r50", "8x8, 32x2"), ("tpn_r50", "4x16, 8x8, 16x4, 32x2")],
)
def test_an_unknown_clip_lists_the_known_ones(family: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^clip must be one of {allowed}, not '3x3'$"):
        BACKBONES[family](classes=3, clip="3x3")
