"""Two classes that anything could tell apart, and a network small enough to learn it in a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import clips
from vidcomp.nn.backbones.lite0 import lite0_slow

MANIFEST = """
name: tiny
summary: random weights, for tests
backbone: {family: lite0_slow, classes: 2, weights: {file: tiny.safetensors}}
compressors: [{cut: res3, kind: sfc, options: {tau: 2}}]
labels: [bright, dark]
preprocessing: {clip_frames: 2, stride: 4, short_side: 32, crop: 32}
"""
FIRST = {"bright": 4065, "dark": 0}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips a class, of two lengths."""
    root = tmp_path_factory.mktemp("labeled")
    for name, first in FIRST.items():
        (root / name).mkdir()
        for number in range(3):
            clips.make_clip(root / name / f"{name}{number}.mp4", 20 + 4 * (number % 2), size=(40, 32), first=first)
    return root


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with an untrained SFC in a backbone of random weights."""
    root = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        network = lite0_slow(2).train()
        # Random weights under BatchNorm's first statistics, 0 and 1, would hardly let a signal through.
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.momentum = None
        for _ in range(10):
            network(torch.randn(8, 1, 1, 1, 1) + 0.3 * torch.randn(8, 3, 2, 32, 40))
        save_file(network.state_dict(), root / "tiny.safetensors")
    (root / "tiny.yaml").write_text(MANIFEST)
    return root / "tiny.yaml"
