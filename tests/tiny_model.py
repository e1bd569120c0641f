"""A model small enough to label thousands of clips on a CPU; its weights are random, and its labels mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.compressors import COMPRESSORS

_RES3_CHANNELS = 40

MANIFEST = """
name: tiny
summary: random weights, for tests
backbone: {{family: lite0_slow, classes: 3, weights: {{file: tiny.safetensors}}}}
compressors: [{compressor}]
labels: [jump, run, swim]
preprocessing: {{clip_frames: 1, stride: {stride}, short_side: 16, crop: 16}}
"""


def make_tiny_model(folder: Path, seed: int = 0, *, kind: str = "identity", stride: int = 8) -> Path:
    """Write the manifest and its weights; returns the manifest's path. ``kind`` is the compressor's."""
    torch.manual_seed(seed)
    save_file(lite0_slow(3).state_dict(), folder / "tiny.safetensors")
    compressor = f"{{cut: res3, kind: {kind}}}"
    if kind != "identity":
        options = {"kernel": "kronecker", "center": True} if kind == "sgs" else {}
        save_file(COMPRESSORS[kind](_RES3_CHANNELS, **options).state_dict(), folder / "compressor.safetensors")
        weights = "weights: {file: compressor.safetensors}"
        written = ", ".join(f"{key}: {str(value).lower()}" for key, value in options.items())
        compressor = f"{{cut: res3, kind: {kind}, {weights}, options: {{{written}}}}}"
    manifest = folder / "tiny.yaml"
    manifest.write_text(MANIFEST.format(compressor=compressor, stride=stride))
    return manifest
