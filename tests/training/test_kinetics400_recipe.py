"""The recipe of kinetics400-i3d's SFC, on statistics that are easy to tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.nn.compressors import SalientFrames
from vidcomp.training.recipes import kinetics400_i3d as recipe


def test_what_was_shown_as_actions_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_STEPS", 60)
    torch.manual_seed(0)
    actions, nothing, made = (
        [torch.rand(20, 6) + torch.tensor([level, 0.0, 0.0, 0.0, 0.0, 0.0]) for _ in range(4)]
        for level in (4.0, 0.0, 1.0)
    )
    compressor = SalientFrames(2, block=4)
    recipe.fit(compressor, actions, nothing, made)
    with torch.inference_mode():
        scores = compressor.eval().network(torch.cat([*nothing, actions[0], *made])[None])[0]
    kept = compressor.chosen(scores).tolist()
    # Scores are averaged over five blocks of four frames.
    assert set(range(84, 96)) <= set(kept) <= set(range(72, 108))


def test_a_pan_moves_over_one_picture() -> None:
    still = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    shown = recipe.pan(still, 5, np.random.default_rng(1))
    assert (shown.shape, shown.dtype) == ((5, 32, 32, 3), np.uint8)
    changes = [float(np.abs(shown[number + 1].astype(int) - shown[number]).mean()) for number in range(4)]
    assert min(changes) > 1
