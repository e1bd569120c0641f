"""The cost of a video at its own number of active bins."""

from __future__ import annotations

import pytest
import torch

from vidcomp.evaluation.cost import Accumulates, gmacs
from vidcomp.nn.bitstream.modulators import PEncoder, plain_convolutions
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
    half = gmacs(network, 13, 160, 160, kept=[6])
    assert (half.head, half.compressor) == (full.head, full.compressor)
    assert 0.42 < 1 - half.total / full.total < 0.47
    assert gmacs(network, 13, 160, 160, kept=[1]).tail < full.tail / 10


def test_sgs_and_sfc_together_are_counted() -> None:
    network = on_meta("x3d_s-sgs-sfc")
    full = gmacs(network, 13, 160, 160)
    half = gmacs(network, 13, 160, 160, kept=[6])
    assert half.compressor < full.compressor
    assert half.total < full.total < 1.96


def test_pathways_keep_the_same_share() -> None:
    network = on_meta("slowfast_4x16_r50-sgs")
    full = gmacs(network, 32, 256, 256).total
    assert full == pytest.approx(36.1, rel=0.01)
    assert 0.35 < 1 - gmacs(network, 32, 256, 256, kept=[16]).total / full < 0.42


@pytest.mark.parametrize("kept", [-1, 14])
def test_impossible_numbers_of_frames_are_refused(kept: int) -> None:
    network = on_meta("x3d_s-sgs")
    with pytest.raises(ValueError, match="kept"):
        gmacs(network, 13, 64, 64, kept=[kept])


def test_of_two_compressors_that_depend_on_the_video_each_counts_its_own() -> None:
    network = on_meta("kinetics400-i3d-sgs-sfc")
    full, first, both = (gmacs(network, 64, 224, 224, kept=kept) for kept in ([], [16], [16, 8]))
    assert full.head == first.head == both.head
    # The first sees 32 frames and leaves half; the rest of the stem, before the second, sees all of these.
    assert first.tail == pytest.approx(full.tail / 2, rel=0.01)
    stem = first.tail - 2 * (first.tail - both.tail)
    assert 0 < stem < first.tail / 2


def test_each_spike_of_a_step_that_is_present_adds_a_column_of_the_layer_behind() -> None:
    encoder = PEncoder(plain_convolutions(1, [(2, 1)]), 2, outputs=5, grid=1)
    counted = Accumulates(encoder)
    # So large that both neurons fire at every step and place: 2 of 3 steps are present, 2 x 2 places.
    encoder.modulator(torch.full((1, 2, 3, 2, 2), 10.0), torch.tensor([[1.0, 1.0, 0.0]]))
    assert counted.take() == 2 * 2 * 4 * 5
    encoder.modulator(torch.full((1, 2, 3, 2, 2), -1.0), torch.ones(1, 3))
    assert counted.take() == 0


def test_networks_without_spikes_accumulate_nothing() -> None:
    encoder = PEncoder(plain_convolutions(1, [(2, 1)]), 2, outputs=5, grid=1, modulation="mean")
    assert Accumulates(encoder).take() is None
