"""SFC by saliency: which frames are kept, and that the tail sees them as they are."""

from __future__ import annotations

import pytest
import torch

from vidcomp.evaluation.cost import gmacs
from vidcomp.nn.backbones.i3d_inception import i3d_inception
from vidcomp.nn.compressors import COMPRESSORS, SFC, Ragged, SalientFrames, SalientSFC
from vidcomp.nn.compressors.saliency import picture_statistics, signed_log
from vidcomp.nn.whole_video import CompressedModel, Insertion


def scored(*parts: tuple[int, float]) -> torch.Tensor:
    return torch.cat([torch.full((count,), score) for count, score in parts])


def chosen(scores: torch.Tensor, **options: int) -> list[int]:
    return SalientFrames(4, **options).chosen(scores).tolist()  # type: ignore[arg-type]


def test_what_is_near_the_highest_score_is_kept() -> None:
    assert chosen(scored((20, -12.0), (10, 3.0), (20, -12.0))) == list(range(20, 30))
    assert chosen(scored((20, -12.0), (10, 3.0), (20, -12.0), (10, 2.5))) == [*range(20, 30), *range(50, 60)]


def test_where_all_is_alike_all_is_kept() -> None:
    for score in (-20.0, 0.0, 20.0):
        assert chosen(scored((11, score)), block=4) == list(range(11))


def test_what_is_certain_is_equally_certain() -> None:
    assert chosen(scored((10, 14.0), (10, 30.0))) == list(range(20))


def test_of_what_is_nothing_the_least_is_kept() -> None:
    assert chosen(scored((20, -12.0), (9, -8.0), (20, -12.0))) == [24]


def test_blocks_are_kept_together_and_the_last_may_be_short() -> None:
    # Scores are averaged over nine blocks: five of them may be low.
    assert chosen(scored((40, -9.0), (30, 5.0)), block=4) == list(range(36, 70))


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
        with torch.device("meta"):
            network = CompressedModel(i3d_inception(3), [Insertion("stem.pool_2a", SalientFrames(64, tau, 4))])
        return gmacs(network.eval(), 64, 64, 64, kept=kept).total

    half = of((16,))
    assert of((8,)) < half < of(())
    assert of((), tau=2) == pytest.approx(half)


def bright_is_salient() -> SalientSFC:
    """SFC of three channels, the frames of whose first channel is bright being salient."""
    torch.manual_seed(0)
    compressor = COMPRESSORS["sfc"](3, pooling="average", tau=2, salient=True)
    assert isinstance(compressor, SalientSFC)
    network = compressor.network
    for layer in (network.reduce, network.mix, network.score):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    network.reduce.weight.data[0, 0] = network.mix.weight.data[0, 0, 4] = 1.0
    network.score.weight.data[0, 0] = 10.0
    network.score.bias.data.fill_(-6.0)  # type: ignore[union-attr]
    return compressor.eval()


def video(*levels: float) -> torch.Tensor:
    features = torch.rand(1, 3, len(levels), 4, 4)
    features[:, 0] = torch.tensor(levels).view(1, -1, 1, 1)
    return features


def test_sfc_sees_what_is_salient_alone() -> None:
    compressor = bright_is_salient()
    features = video(*[0.0] * 20, *[3.0] * 12, *[0.0] * 8)
    result = compressor(features, need_attention=True)
    assert isinstance(result.features, Ragged)
    assert result.attention is not None
    (weights,) = result.attention
    kept = weights.sum(dim=0).nonzero().flatten().tolist()
    # Scores are averaged over nine frames.
    assert set(range(20, 32)) <= set(kept) <= set(range(18, 34))
    assert weights.shape == (compressor.kept_frames(len(kept)), 40)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
    plain = SFC(3, pooling="average")
    plain.load_state_dict({name: value for name, value in compressor.state_dict().items() if "network" not in name})
    of_kept = plain.eval()(features[:, :, kept], need_attention=True)
    torch.testing.assert_close(result.features.videos[0], of_kept.features)
    torch.testing.assert_close(weights[:, kept], of_kept.attention[0])


def test_what_is_more_of_an_action_than_not_is_kept_beside_what_is_more_so() -> None:
    compressor = bright_is_salient()
    compressor.network.score.bias.data.fill_(-13.0)  # type: ignore[union-attr]
    features = video(*[0.0] * 20, *[5.0] * 12, *[0.0] * 20, *[9.0] * 12, *[0.0] * 20)
    (weights,) = compressor(features, need_attention=True).attention
    first, second = weights[:, :40], weights[:, 40:]
    # Scores are averaged over nine frames.
    assert first[:, 23:29].any(dim=0).all()
    assert second[:, 15:21].any(dim=0).all()
    # Neither attends to the other.
    assert not (first.any(dim=1) & second.any(dim=1)).any()


def test_where_all_is_alike_sfc_is_what_it_was() -> None:
    compressor = bright_is_salient()
    both = torch.cat([video(*[3.0] * 10), video(*[0.0] * 10)])
    result = compressor(both, need_attention=True)
    expected = SFC.forward(compressor, both, need_attention=True)
    assert torch.equal(result.features, expected.features)
    assert torch.equal(result.attention, expected.attention)


def test_videos_of_which_unlike_parts_are_salient_stay_apart() -> None:
    compressor = bright_is_salient()
    videos = [video(*[3.0] * 10, *[0.0] * 20), video(*[3.0] * 30)]
    together = compressor(torch.cat(videos)).features
    for number, one in enumerate(videos):
        alone = compressor(one).features
        alone = alone.videos[0] if isinstance(alone, Ragged) else alone
        torch.testing.assert_close(together.videos[number], alone)


def test_statistics_may_be_negative() -> None:
    values = torch.tensor([-3.0, 0.0, 3.0])
    torch.testing.assert_close(signed_log(values), torch.tensor([-1.0, 0.0, 1.0]) * torch.log(torch.tensor(4.0)))


def test_salient_is_yes_or_no() -> None:
    with pytest.raises(ValueError, match="salient must be true or false, not 'yes'"):
        COMPRESSORS["sfc"](3, salient="yes")
