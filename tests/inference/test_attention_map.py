"""One map of a video, whatever compressors the network has, and however its frames arrive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vidcomp.attention import summarize
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import attention_map
from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.compressors import SFC, SGS
from vidcomp.nn.whole_video import CompressedModel, Insertion, ModelOutput

FRAMES = 6


def joined(*stages: tuple[str, list[list[float]] | None, int]) -> Any:
    """The map of compressors given as (kind, map, temporal stride of the head there), over six source frames."""
    network = SimpleNamespace(
        attention_kinds=tuple(kind for kind, _, _ in stages),
        temporal_strides=tuple(stride for _, _, stride in stages),
    )
    maps = tuple(None if rows is None else torch.tensor([rows]) for _, rows, _ in stages)
    output = ModelOutput(torch.zeros(1, 2), maps)
    return attention_map(network, output, np.arange(FRAMES) / 2, np.arange(FRAMES) * 4)  # type: ignore[arg-type]


def test_one_map_has_the_times_and_numbers_of_the_frames_that_the_head_lets_through() -> None:
    found = joined(("sfc", [[0.5, 0.25, 0.25]], 2))
    assert found.compressor == "sfc"
    assert found.seconds.tolist() == [0, 1, 2]
    assert found.indices.tolist() == [0, 8, 16]
    assert found.grouping is None


def test_maps_in_a_row_are_multiplied_and_the_first_ones_groups_are_kept() -> None:
    groups = [[0.5, 0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.25, 0.25, 0.25, 0.25]]
    found = joined(("sgs", groups, 1), ("sfc", [[0.75, 0.25]], 1))
    assert found.compressor == "sgs+sfc"
    assert found.weights.tolist() == [[0.375, 0.375, 0.0625, 0.0625, 0.0625, 0.0625]]
    assert found.groups.tolist() == groups


def test_a_stage_between_that_strides_in_time_passes_every_second_row() -> None:
    found = joined(("sfc", np.eye(FRAMES).tolist(), 1), ("sfc", [[0.5, 0.0, 0.5]], 2))
    assert found.weights.tolist() == [[0.5, 0, 0, 0, 0.5, 0]]
    assert found.groups is None


def test_the_identity_has_no_map_and_changes_none() -> None:
    assert joined(("identity", None, 1)) is None
    found = joined(("identity", None, 1), ("sfc", [[1.0, 0.0, 0.0]], 2))
    assert (found.compressor, found.seconds.tolist()) == ("sfc", [0, 1, 2])


@pytest.fixture(params=["sfc", "sgs+sfc"])
def network(request: pytest.FixtureRequest) -> CompressedModel:
    torch.manual_seed(0)
    inserted = [Insertion("res2", SGS(24, kernel="kronecker", center=True)), Insertion("res3", SFC(40))]
    return CompressedModel(lite0_slow(3), inserted if request.param == "sgs+sfc" else inserted[1:])


def test_the_summary_is_the_same_however_the_frames_are_chunked(network: CompressedModel) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (11, 32, 48, 3), np.uint8)
    runner = Runner(network, torch.device("cpu"))
    summaries = []
    for sizes in ([11], [4, 4, 3], [1] * 11):
        parts = np.split(pixels, np.cumsum(sizes)[:-1])
        found = attention_map(network, runner.whole(parts), np.arange(11) / 25, np.arange(11))
        assert found is not None
        summaries.append(summarize(found))
    for other in summaries[1:]:
        assert other.importance == pytest.approx(summaries[0].importance, rel=1e-4)
        assert other.bins == summaries[0].bins
    assert len(summaries[0].importance) == 11
