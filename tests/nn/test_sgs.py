"""The SGS layer, and batches whose videos keep different numbers of frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidcomp.nn.backbones import Backbone, BackboneSpec
from vidcomp.nn.compressors import COMPRESSORS, SFC, SGS, FeaturesError, Identity, PathwaySGS, Ragged
from vidcomp.nn.whole_video import CompressedModel, Insertion

CHANNELS = 6


def lengths(compressed: Ragged) -> list[int]:
    return [video.shape[2] for video in compressed.videos if isinstance(video, Tensor)]


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, 4)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features.mean(dim=(2, 3, 4)))
        return logits


def convolution(inputs: int) -> nn.Sequential:
    """A stage that mixes time, so that a padded or misplaced frame would show."""
    return nn.Sequential(nn.Conv3d(inputs, CHANNELS, 3, padding=1), nn.BatchNorm3d(CHANNELS), nn.ReLU())


def model(*insertions: Insertion) -> CompressedModel:
    stages = {
        "stem": convolution(3),
        "res2": convolution(CHANNELS),
        "res3": convolution(CHANNELS),
        "classifier": Classifier(),
    }
    spec = BackboneSpec(8, 1, 16, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return CompressedModel(Backbone(stages, spec), insertions)


def videos(count: int = 6, frames: int = 10) -> Tensor:
    """Videos with more and more motion in them, the first of which stands still."""
    torch.manual_seed(3)
    still = torch.rand(count, 3, 1, 8, 8)
    motion = torch.rand(count, 3, frames, 8, 8) * torch.linspace(0, 3, count)[:, None, None, None, None]
    return still + motion


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def test_still_frames_become_one_and_noise_keeps_most() -> None:
    for center in (False, True):
        sgs = SGS(32, center=center).eval()
        still = torch.rand(1, 32, 1, 8, 8).expand(1, 32, 16, 8, 8)
        assert lengths(sgs(still).features) == [1]
        noise = lengths(sgs(torch.randn(40, 32, 16, 8, 8)).features)
        assert sum(noise) / len(noise) > 8


def test_rounding_is_no_motion() -> None:
    still = torch.rand(1, 32, 1, 8, 8).expand(1, 32, 13, 8, 8)
    nearly = still * (1 + 1e-7 * torch.randn(1, 1, 13, 1, 1))
    for center in (False, True):
        assert lengths(SGS(32, center=center).eval()(nearly).features) == [1]


def test_autocast_does_not_coarsen_the_bins() -> None:
    sgs = SGS(32, center=True).eval()
    features = torch.randn(1, 32, 64, 4, 4)
    expected = sgs(features, need_attention=True).attention[0]
    with torch.autocast("cpu", torch.bfloat16):
        actual = sgs(features, need_attention=True).attention[0]
    torch.testing.assert_close(actual, expected)


def test_attention_says_which_frames_are_in_each_bin() -> None:
    sgs = SGS(CHANNELS)
    features = torch.rand(3, CHANNELS, 7, 4, 4)
    result = sgs(features, need_attention=True)
    for frames, video, attention in zip(features, result.features.videos, result.attention, strict=True):
        assert attention.shape == (video.shape[2], 7)
        assert ((attention > 0).sum(dim=0) == 1).all()
        torch.testing.assert_close(torch.einsum("bt,cthw->cbhw", attention, frames)[None], video)
    assert sgs(features).attention is None


@pytest.mark.parametrize("bins", [1, 3, 50])
def test_bins_are_an_upper_bound_and_may_change_after_training(bins: int) -> None:
    sgs = SGS(CHANNELS)
    sgs.bins = bins
    assert all(1 <= n <= min(bins, 9) for n in lengths(sgs(torch.randn(4, CHANNELS, 9, 4, 4)).features))


def test_one_frame_is_fine() -> None:
    assert lengths(SGS(CHANNELS)(torch.rand(2, CHANNELS, 1, 4, 4)).features) == [1, 1]


@pytest.mark.parametrize(("similarity", "bins"), [("angular", (4, 8)), ("spherical", (2, 4, 4))])
@pytest.mark.parametrize("kernel", ["linear", "kronecker"])
def test_other_similarities(similarity: str, bins: tuple[int, ...], kernel: str) -> None:
    sgs = COMPRESSORS["sgs"](CHANNELS, similarity=similarity, kernel=kernel)
    assert sgs.bins == bins
    assert sgs.network.embed.out_features == 3
    features = torch.randn(2, CHANNELS, 12, 4, 4, requires_grad=True)
    result = sgs(features)
    assert all(1 <= n <= 12 for n in lengths(result.features))
    sum(video.sum() for video in result.features.videos).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in sgs.parameters())


def test_black_frames_give_finite_gradients_in_every_similarity() -> None:
    for similarity in ("magnitude", "angular", "spherical"):
        sgs = SGS(CHANNELS, similarity=similarity)  # type: ignore[arg-type]
        features = torch.zeros(1, CHANNELS, 5, 4, 4, requires_grad=True)
        result = sgs(features)
        assert lengths(result.features) == [1]
        (result.features.videos[0] + 1).prod().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in sgs.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"bins": 0},
        {"block": 0},
        {"similarity": "cosine"},
        {"kernel": "cubic"},
        {"embedding": 0},
        {"similarity": "angular", "embedding": 8},
        {"similarity": "spherical", "bins": 4},
        {"bins": (4, 4)},
        {"block": (2, 8)},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        COMPRESSORS["sgs"](CHANNELS, **options)


def test_blocks_are_sampled_by_themselves() -> None:
    sgs = SGS(CHANNELS, block=4)
    features = torch.rand(1, CHANNELS, 10, 4, 4)
    result = sgs(features, need_attention=True)
    alone = [sgs(part).features.videos[0] for part in features.split(4, dim=2)]
    torch.testing.assert_close(result.features.videos[0], torch.cat(alone, dim=2))
    assert result.attention[0].shape == (result.features.videos[0].shape[2], 10)
    still = torch.ones(1, CHANNELS, 10, 4, 4)
    assert lengths(sgs(still).features) == [3]


def test_bad_features_are_named_by_frame_and_video() -> None:
    features = torch.rand(3, CHANNELS, 5, 4, 4)
    features[1, 2, 3, 0, 0] = float("nan")
    with pytest.raises(FeaturesError, match="frame 3 of video 1"):
        SGS(CHANNELS)(features)
    with pytest.raises(FeaturesError, match="no frame"):
        SGS(CHANNELS)(torch.rand(1, CHANNELS, 0, 4, 4))


CHAINS = {
    "sgs": lambda: [Insertion("stem", SGS(CHANNELS, center=True))],
    "sgs-sfc": lambda: [Insertion("stem", SGS(CHANNELS, center=True)), Insertion("res2", SFC(CHANNELS, tau=2))],
    "sfc-sgs": lambda: [Insertion("stem", SFC(CHANNELS, tau=1.5)), Insertion("res3", SGS(CHANNELS, center=True))],
    "sgs-sgs": lambda: [Insertion("stem", SGS(CHANNELS, center=True)), Insertion("res2", SGS(CHANNELS, bins=3))],
    "identity-sgs": lambda: [Insertion("stem", Identity()), Insertion("res2", SGS(CHANNELS, center=True))],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_video_gets_the_same_logits_alone_and_in_any_batch(chain: str) -> None:
    network = model(*CHAINS[chain]()).eval()
    batch = videos()
    with torch.inference_mode():
        together = network(batch, need_attention=True)
        backwards = network(batch.flip(0))
        for index in range(len(batch)):
            alone = network(batch[index : index + 1], need_attention=True)
            torch.testing.assert_close(together.logits[index : index + 1], alone.logits, atol=1e-4, rtol=0)
            for ours, theirs in zip(together.attention, alone.attention, strict=True):
                if ours is not None:
                    assert torch.equal(ours[index] > 0, theirs[0] > 0)
    torch.testing.assert_close(backwards.logits.flip(0), together.logits, atol=1e-4, rtol=0)
    if chain == "sgs":
        assert len({len(attention) for attention in together.attention[0]}) > 1


def test_training_in_batches_reaches_every_parameter() -> None:
    network = model(*CHAINS["sgs-sfc"]()).train()
    network(videos()).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.compressors[0].network.reduce.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_pathways_are_sampled_apart() -> None:
    sgs = COMPRESSORS["sgs"]((4, 2), block=(2, 8))
    assert isinstance(sgs, PathwaySGS)
    result = sgs((torch.rand(2, 4, 4, 3, 3), torch.rand(2, 2, 16, 6, 6)), need_attention=True)
    for (slow, fast), attention in zip(result.features.videos, result.attention, strict=True):
        assert slow.shape[1] == 4
        assert 2 <= slow.shape[2] <= 4
        assert attention.shape == (fast.shape[2], 16)
    with pytest.raises(ValueError, match="one per pathway"):
        COMPRESSORS["sgs"]((4, 2), block=(2, 8, 8))


def test_on_the_meta_device_every_bin_counts_as_active() -> None:
    with torch.device("meta"):
        features = torch.empty(1, CHANNELS, 9, 4, 4)
        assert lengths(SGS(CHANNELS)(features).features) == [9]
        assert lengths(SGS(CHANNELS, bins=4)(features).features) == [4]
