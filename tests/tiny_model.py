"""A model small enough to label thousands of clips on a CPU; its weights are random, and its labels mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from vidcomp.nn.backbones.lite0_slow import lite0_slow

MANIFEST = """
name: tiny
summary: random weights, for tests
backbone: {family: lite0_slow, classes: 3, weights: {file: tiny.safetensors}}
compressors: [{cut: res3, kind: identity}]
labels: [jump, run, swim]
preprocessing: {clip_frames: 1, stride: 8, short_side: 16, crop: 16}
"""


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write the manifest and its weights; returns the manifest's path."""
    torch.manual_seed(seed)
    save_file(lite0_slow(3).state_dict(), folder / "tiny.safetensors")
    manifest = folder / "tiny.yaml"
    manifest.write_text(MANIFEST)
    return manifest
