"""X3D, SlowFast and the modified 3DResNets: the papers' costs, the published layouts, and SGS inside them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.compressors import Identity, build_sgs
from vidcomp.nn.whole_video import CompressedModel, Insertion

STAGES = ["stem", "res2", "res3", "res4", "res5", "classifier"]


def count_gmacs(family: str, frames: int, side: int, *, cut: str | None = None, kept: int | None = None) -> float:
    """GMACs of a backbone; with only ``kept`` frames behind ``cut`` where given."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        segments = BACKBONES[family]().eval().split([cut or "stem"])
        features = segments[0](torch.empty(1, 3, frames, side, side))
        segments[1](features[:, :, :kept] if kept else features)
    return counter.get_total_flops() / 2e9


# (family, frames, side, the paper's figure): tables 7–9, with X3D's own 1.96 where the SGS paper prints 1.9.
@pytest.mark.parametrize(
    ("family", "frames", "side", "paper"),
    [
        ("x3d_s", 13, 160, 1.96),
        ("x3d_m", 16, 256, 6.2),
        ("x3d_l", 16, 312, 18.3),
        ("x3d_l", 16, 356, 24.8),
        ("x3d_xl", 16, 312, 35.8),
        ("x3d_xl", 16, 356, 48.4),
        ("slowfast_4x16_r50", 32, 256, 36.1),
        ("slowfast_8x8_r50", 32, 256, 65.7),
        ("slowfast_8x8_r50", 64, 256, 132.8),
        ("resnet3d_50", 32, 256, 40.8),
    ],
)
def test_gmacs_are_the_papers(family: str, frames: int, side: int, paper: float) -> None:
    assert count_gmacs(family, frames, side) == pytest.approx(paper, rel=0.02)


@pytest.mark.parametrize(
    ("family", "millions"),
    [
        ("x3d_xs", 3.79),
        ("x3d_s", 3.79),
        ("x3d_m", 3.79),
        ("x3d_l", 6.15),
        ("x3d_xl", 11.09),
        ("slowfast_4x16_r50", 34.40),
        ("slowfast_8x8_r50", 34.57),
    ],
)
def test_parameters_are_the_papers(family: str, millions: float) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in BACKBONES[family]().parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.003)


# Table 6 and the rule of the issue: with half of 13 bins X3D-S falls by half after the stem, by 42 % after res2.
@pytest.mark.parametrize(("cut", "paper"), [("stem", 0.9), ("res2", 1.1), ("res3", 1.3)])
def test_half_of_the_bins_cost_what_table_6_says(cut: str, paper: float) -> None:
    half = count_gmacs("x3d_s", 13, 160, cut=cut, kept=6)
    assert half == pytest.approx(paper, abs=0.05)
    if cut == "res2":
        assert 0.42 < 1 - half / count_gmacs("x3d_s", 13, 160) < 0.47


@pytest.mark.parametrize(
    "family",
    ["x3d_xs", "x3d_s", "x3d_xl", "resnet3d_18", "resnet3d_50", "slowfast_4x16_r50", "slowfast_8x8_r50"],
)
def test_sgs_can_stand_after_each_early_stage(family: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[family](classes=7)
        assert list(backbone.stages) == STAGES
        features = torch.empty(1, 3, 16, 64, 64)
        for cut in ("stem", "res2", "res3"):
            features = backbone.stages[cut](features)
            channels = tuple(p.shape[1] for p in features) if isinstance(features, tuple) else features.shape[1]
            model = CompressedModel(backbone, [Insertion(cut, build_sgs(channels))]).eval()
            assert model(torch.empty(2, 3, 16, 64, 64)).logits.shape == (2, 7)


def wide_videos(count: int, frames: int) -> Tensor:
    torch.manual_seed(1)
    still = torch.rand(count, 3, 1, 32, 32)
    return still + torch.randn(count, 3, frames, 32, 32) * torch.linspace(0, 3, count)[:, None, None, None, None]


@pytest.mark.parametrize(
    ("family", "block"), [("x3d_xs", None), ("slowfast_4x16_r50", (2, 8)), ("slowfast_8x8_r50", (2, 8))]
)
def test_a_video_gets_the_same_logits_alone_and_in_a_batch(family: str, block: tuple[int, int] | None) -> None:
    torch.manual_seed(0)
    backbone = BACKBONES[family](classes=5).eval()
    clip = wide_videos(3, 16)
    with torch.inference_mode():
        features = backbone.split(["res2"])[0](clip)
        channels = tuple(p.shape[1] for p in features) if isinstance(features, tuple) else features.shape[1]
        sgs = build_sgs(channels, block=block, center=True)
        model = CompressedModel(backbone, [Insertion("res2", sgs)]).eval()
        together = model(clip, need_attention=True)
        assert len({len(attention) for attention in together.attention[0] or ()}) > 1
        for index in range(len(clip)):
            alone = model(clip[index : index + 1])
            torch.testing.assert_close(together.logits[index], alone.logits[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("family", "cut"), [("x3d_xs", "stem"), ("x3d_xs", "res2"), ("slowfast_8x8_r50", "stem")])
def test_the_head_in_chunks_is_the_head_in_one(family: str, cut: str) -> None:
    torch.manual_seed(0)
    model = CompressedModel(BACKBONES[family](classes=3), [Insertion(cut, Identity())]).eval()
    clip = torch.randn(1, 3, 19, 32, 32)
    with torch.inference_mode():
        chunked = model.finish(model.encode(clip.split(5, dim=2))).logits
        torch.testing.assert_close(chunked, model(clip).logits, atol=1e-5, rtol=1e-4)


def test_slowfast_takes_any_number_of_frames() -> None:
    with torch.device("meta"):
        backbone = BACKBONES["slowfast_4x16_r50"](classes=3).eval()
        for frames in (1, 7, 8, 9, 20, 32):
            slow, fast = backbone.stages["stem"](torch.empty(1, 3, frames, 32, 32))
            assert (slow.shape[2], fast.shape[2]) == (-(-frames // 8), frames)
            assert backbone(torch.empty(1, 3, frames, 32, 32)).shape == (1, 3)


def test_the_shorter_pathway_is_padded_with_zeros_at_its_end() -> None:
    lateral = BACKBONES["slowfast_4x16_r50"](classes=3).eval().stages["res2"].lateral
    slow, fast = torch.rand(1, 256, 3, 2, 2), torch.rand(1, 32, 4, 2, 2)
    with torch.inference_mode():
        joined, _ = lateral((slow, fast))
        assert joined.shape == (1, 320, 3, 2, 2)
        assert not joined[:, 256:, 1:].any()
        joined, _ = lateral((slow[:, :, :1], torch.rand(1, 32, 17, 2, 2)))
    assert joined.shape == (1, 320, 3, 2, 2)
    assert not joined[:, :256, 1:].any()


def test_an_unknown_size_of_x3d_is_refused() -> None:
    from vidcomp.nn.backbones.x3d import x3d

    with pytest.raises(ValueError, match="xs, s, m, l, xl"):
        x3d("xxl")
