"""SFC by saliency: which frames are kept, and that the tail sees them as they are."""

from __future__ import annotations

import pytest
import torch

from vidcomp.evaluation.cost import gmacs
from vidcomp.nn.backbones.i3d_inception import i3d_inception
from vidcomp.nn.compressors import COMPRESSORS, Ragged, SalientFrames
from vidcomp.nn.compressors.saliency import picture_statistics
from vidcomp.nn.whole_video import CompressedModel, Insertion


def scored(*parts: tuple[int, float]) -> torch.Tensor:
    return torch.cat([torch.full((count,), score) for count, score in parts])


def chosen(scores: torch.Tensor, **options: int) -> list[int]:
    return SalientFrames(4, **options).chosen(scores).tolist()  # type: ignore[arg-type]


def test_what_is_near_the_highest_score_is_kept() -> None:
    assert chosen(scored((20, -9.0), (10, 3.0), (20, -9.0))) == list(range(20, 30))
    assert chosen(scored((20, -9.0), (10, 3.0), (20, -9.0), (10, 1.0))) == [*range(20, 30), *range(50, 60)]


def test_where_all_is_alike_all_is_kept() -> None:
    for score in (-20.0, 0.0, 20.0):
        assert chosen(scored((11, score)), block=4) == list(range(11))


def test_what_is_certain_is_equally_certain() -> None:
    assert chosen(scored((10, 8.0), (10, 30.0))) == list(range(20))


def test_blocks_are_kept_together_and_the_last_may_be_short() -> None:
    # Scores are averaged over five blocks: three of them may be low.
    assert chosen(scored((40, -3.0), (30, 5.0)), block=4) == list(range(36, 70))


@pytest.mark.parametrize(("frames", "tau", "kept"), [(40, 2, 20), (40, 4, 8), (3, 4, 3)])
def test_tau_is_the_least_compression(frames: int, tau: int, kept: int) -> None:
    scores = torch.linspace(0, 1, frames)
    assert chosen(scores, tau=tau, block=4) == list(range(frames - kept, frames))


def test_each_kept_frame_is_itself_and_no_video_waits_for_another() -> None:
    torch.manual_seed(0)
    compressor = COMPRESSORS["sfc"](3, pooling="salient").eval()
    compressor.network.score.weight.data *= 200  # type: ignore[union-attr,operator]
    features = torch.rand(2, 3, 30, 4, 4) * torch.rand(2, 3, 30, 1, 1)
    both = compressor(features, need_attention=True)
    assert isinstance(both.features, Ragged)
    assert both.attention is not None
    for number in range(2):
        kept, weights = both.features.videos[number], both.attention[number]
        assert isinstance(kept, torch.Tensor)
        assert weights.shape == (kept.shape[2], 30)
        assert weights.sum(dim=1).tolist() == [1.0] * kept.shape[2]
        torch.testing.assert_close(torch.einsum("pt,cthw->cphw", weights, features[number]), kept[0])
        alone = compressor(features[number : number + 1]).features.videos[0]
        assert torch.equal(alone, kept)
    assert min(len(weights) for weights in both.attention) < 30


def test_statistics_are_of_the_picture() -> None:
    features = torch.rand(1, 2, 9, 3, 3)
    expected = torch.cat([features.mean((3, 4)), features.amax((3, 4)), features.std((3, 4))], dim=1).transpose(1, 2)
    torch.testing.assert_close(picture_statistics(features), expected)


@pytest.mark.parametrize("options", [{"tau": 0.5}, {"block": 0}, {"block": True}, {"block": 1.5}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        COMPRESSORS["sfc"](3, pooling="salient", **options)


def test_cost_goes_by_what_is_kept() -> None:
    def of(kept: tuple[int, ...], tau: float = 1.0) -> float:
        network = CompressedModel(i3d_inception(3), [Insertion("stem.pool_2a", SalientFrames(64, tau, 4))]).to("meta")
        return gmacs(network.eval(), 64, 64, 64, kept=kept).total

    assert of((8,)) < of((16,)) < of(())
    assert of((), tau=2) == pytest.approx(of((16,)))
