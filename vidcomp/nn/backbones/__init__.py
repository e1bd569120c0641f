"""Backbone families by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone, BackboneSpec, CutError
from vidcomp.nn.backbones.lite0_slow import lite0_slow
from vidcomp.nn.backbones.torchvision_video import mc3_18, r2plus1d_18, r3d_18, s3d

# Each builder takes the number of classes and the manifest's options.
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "lite0_slow": lite0_slow,
    "mc3_18": mc3_18,
    "r2plus1d_18": r2plus1d_18,
    "r3d_18": r3d_18,
    "s3d": s3d,
}

__all__ = ["BACKBONES", "CLASSIFIER", "Backbone", "BackboneSpec", "CutError"]
