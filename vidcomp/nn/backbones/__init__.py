"""Backbone families by their names in manifests."""

from __future__ import annotations

from collections.abc import Callable

from vidcomp.nn.backbones.base import CLASSIFIER, Backbone, BackboneSpec, CutError
from vidcomp.nn.backbones.bitstream import bitstream
from vidcomp.nn.backbones.i3d_inception import i3d_inception
from vidcomp.nn.backbones.lite0 import lite0_slow, lite0_two_stream
from vidcomp.nn.backbones.r2plus1d import r2plus1d_34, r2plus1d_50, r2plus1d_152, r2plus1d_r50
from vidcomp.nn.backbones.resnets import c2d_r50, i3d_r50, resnet3d_18, resnet3d_50, slow_r50
from vidcomp.nn.backbones.slowfast import slowfast_4x16_r50, slowfast_8x8_r50
from vidcomp.nn.backbones.torchvision_video import (
    mc3_18,
    mvit_v1_b,
    mvit_v2_s,
    r2plus1d_18,
    r3d_18,
    s3d,
    swin3d_b,
    swin3d_s,
    swin3d_t,
)
from vidcomp.nn.backbones.tpn import tpn_r50
from vidcomp.nn.backbones.transformers_video import transformers_video
from vidcomp.nn.backbones.x3d import x3d_l, x3d_m, x3d_s, x3d_xl, x3d_xs

# Each builder takes the number of classes and the manifest's options.
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "bitstream": bitstream,
    "c2d_r50": c2d_r50,
    "i3d_inception": i3d_inception,
    "i3d_r50": i3d_r50,
    "lite0_slow": lite0_slow,
    "lite0_two_stream": lite0_two_stream,
    "mc3_18": mc3_18,
    "mvit_v1_b": mvit_v1_b,
    "mvit_v2_s": mvit_v2_s,
    "r2plus1d_18": r2plus1d_18,
    "r2plus1d_34": r2plus1d_34,
    "r2plus1d_50": r2plus1d_50,
    "r2plus1d_152": r2plus1d_152,
    "r2plus1d_r50": r2plus1d_r50,
    "r3d_18": r3d_18,
    "resnet3d_18": resnet3d_18,
    "resnet3d_50": resnet3d_50,
    "s3d": s3d,
    "slow_r50": slow_r50,
    "slowfast_4x16_r50": slowfast_4x16_r50,
    "slowfast_8x8_r50": slowfast_8x8_r50,
    "swin3d_b": swin3d_b,
    "swin3d_s": swin3d_s,
    "swin3d_t": swin3d_t,
    "tpn_r50": tpn_r50,
    "transformers": transformers_video,
    "x3d_l": x3d_l,
    "x3d_m": x3d_m,
    "x3d_s": x3d_s,
    "x3d_xl": x3d_xl,
    "x3d_xs": x3d_xs,
}

__all__ = ["BACKBONES", "CLASSIFIER", "Backbone", "BackboneSpec", "CutError"]
