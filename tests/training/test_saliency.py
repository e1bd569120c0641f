"""What tells actions from nothing is fitted, on statistics that are easy to tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.nn.compressors import SalientFrames
from vidcomp.training import saliency


def test_what_was_shown_as_actions_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "_STEPS", 60)
    torch.manual_seed(0)
    actions, nothing, made = (
        [torch.rand(20, 6) + torch.tensor([level, 0.0, 0.0, 0.0, 0.0, 0.0]) for _ in range(4)]
        for level in (4.0, 0.0, 1.0)
    )
    compressor = SalientFrames(2, block=4)
    saliency.fit(compressor.network, actions, nothing, made)
    with torch.inference_mode():
        scores = compressor.eval().network(torch.cat([*nothing, *actions, *made])[None])[0]
    kept = compressor.chosen(scores).tolist()
    # Scores are averaged over nine blocks of four frames.
    assert set(range(100, 140)) <= set(kept) <= set(range(60, 180))


def test_a_cut_is_not_an_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "_STEPS", 60)
    torch.manual_seed(0)
    level = torch.tensor([4.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    actions, nothing = ([torch.rand(20, 6) + own for _ in range(4)] for own in (level, 0 * level))
    cut = torch.full((1, 6), 9.0)
    compressor = SalientFrames(2)
    saliency.fit(compressor.network, actions, nothing, nothing, [cut])
    with torch.inference_mode():
        scores = compressor.eval().network(torch.cat([nothing[0], cut, nothing[1], cut, actions[0], cut])[None])[0]
    assert float(scores[:36].max()) < 0 < float(scores[46:60].min())


def test_a_pan_moves_over_one_picture() -> None:
    still = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    shown = saliency.pan(still, 5, np.random.default_rng(1))
    assert (shown.shape, shown.dtype) == ((5, 32, 32, 3), np.uint8)
    changes = [float(np.abs(shown[number + 1].astype(int) - shown[number]).mean()) for number in range(4)]
    assert min(changes) > 1
