"""Cutting: the parts are the whole, wherever it is cut and however the head is fed."""

from __future__ import annotations

import pytest
import torch

from vidcomp.nn.backbones import CutError
from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.compressors import SFC, Identity
from vidcomp.nn.whole_video import CompressedModel, Insertion


@pytest.mark.parametrize("cut", ["stem", "res2", "res3", "res4", "res5"])
def test_with_the_identity_every_cut_gives_the_backbones_logits(cut: str) -> None:
    backbone = lite0_slow(classes=4).eval()
    clip = torch.randn(1, 3, 3, 32, 32)
    model = CompressedModel(backbone, [Insertion(cut, Identity())]).eval()
    with torch.inference_mode():
        output = model(clip, need_attention=True)
        torch.testing.assert_close(output.logits, backbone(clip))
    assert output.attention == (None,)


def test_the_head_in_chunks_is_the_head_in_one() -> None:
    model = CompressedModel(lite0_slow(classes=4).eval(), [Insertion("res3", SFC(40))]).eval()
    clip = torch.randn(1, 3, 7, 32, 32)
    with torch.inference_mode():
        whole = model(clip).logits
        chunked = model.finish(model.encode([clip[:, :, :3], clip[:, :, 3:4], clip[:, :, 4:]])).logits
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_compressors_can_be_chained() -> None:
    insertions = [Insertion("res2", SFC(24)), Insertion("res4", SFC(112))]
    model = CompressedModel(lite0_slow(classes=4), insertions).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 8, 32, 32), need_attention=True)
    assert [tuple(weights.shape) for weights in output.attention if weights is not None] == [(1, 4, 8), (1, 2, 4)]


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (["res9"], "unknown cut 'res9': this backbone can be cut after stem, res2, res3, res4, res5"),
        (["classifier"], "unknown cut 'classifier'"),
        (["res3", "res2"], "network's order"),
        (["res3", "res3"], "network's order"),
    ],
)
def test_bad_cuts_are_refused(cuts: list[str], message: str) -> None:
    with pytest.raises(CutError, match=message):
        CompressedModel(lite0_slow(classes=4), [Insertion(cut, Identity()) for cut in cuts])


def test_a_model_needs_an_insertion() -> None:
    with pytest.raises(ValueError, match="use the identity"):
        CompressedModel(lite0_slow(classes=4), [])
