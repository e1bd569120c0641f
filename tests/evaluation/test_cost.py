"""The cost of a video at its own number of active bins."""

from __future__ import annotations

import pytest
import torch

from vidcomp.evaluation.cost import gmacs
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.zoo.build import build_network
from vidcomp.zoo.manifest import find_manifest


def on_meta(name: str) -> CompressedModel:
    with torch.device("meta"):
        return build_network(find_manifest(name)).eval()


def test_fewer_active_bins_cost_less_in_the_tail_alone() -> None:
    network = on_meta("x3d_s-sgs")
    full = gmacs(network, 13, 160, 160)
    assert full.total == pytest.approx(1.96, rel=0.01)
    half = gmacs(network, 13, 160, 160, active_bins=[6])
    assert (half.head, half.compressor) == (full.head, full.compressor)
    assert 0.42 < 1 - half.total / full.total < 0.47
    assert gmacs(network, 13, 160, 160, active_bins=[1]).tail < full.tail / 10


def test_sgs_and_sfc_together_are_counted() -> None:
    network = on_meta("x3d_s-sgs-sfc")
    full = gmacs(network, 13, 160, 160)
    half = gmacs(network, 13, 160, 160, active_bins=[6])
    assert half.compressor < full.compressor
    assert half.total < full.total < 1.96


def test_pathways_keep_the_same_share() -> None:
    network = on_meta("slowfast_4x16_r50-sgs")
    full = gmacs(network, 32, 256, 256).total
    assert full == pytest.approx(36.1, rel=0.01)
    assert 0.35 < 1 - gmacs(network, 32, 256, 256, active_bins=[16]).total / full < 0.42


@pytest.mark.parametrize("active_bins", [[0], [14], [6, 6]])
def test_impossible_numbers_of_bins_are_refused(active_bins: list[int]) -> None:
    network = on_meta("x3d_s-sgs")
    with pytest.raises(ValueError, match="active"):
        gmacs(network, 13, 64, 64, active_bins=active_bins)
