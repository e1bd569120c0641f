"""Adapters that give torchvision's video networks named stages: ResNets, S3D, MViT and Video Swin.

The networks and their public Kinetics-400 weights are torchvision's; only the slicing and the specification (its
reference preprocessing) are ours. Their references sample 15 frames per second, which is every second frame at the
30 frames per second of most videos, and for MViT half as many.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, KINETICS_NORM, PYTORCHVIDEO_NORM, Backbone, BackboneSpec
from vidcomp.nn.receptive_field import side_by_side

if TYPE_CHECKING:
    from torchvision.models import video as tv

# torchvision is imported where a network of it is built: that takes as long as all else, and most models need none.

# Where each stage begins in torchvision's list of S3D's layers.
S3D_FIRST_LAYER = {"stem": 0, "res2": 1, "res3": 4, "res4": 7, "res5": 13}


def _resnet_spec(temporal_strides: dict[str, int]) -> BackboneSpec:
    return BackboneSpec(
        clip_frames=16,
        stride=2,
        short_side=128,
        crop=112,
        mean=KINETICS_NORM.mean,
        std=KINETICS_NORM.std,
        temporal_strides=temporal_strides,
    )


def _stages_of_resnet(network: tv.VideoResNet) -> dict[str, nn.Module]:
    _declare_fields(network)
    return {
        "stem": network.stem,
        "res2": network.layer1,
        "res3": network.layer2,
        "res4": network.layer3,
        "res5": network.layer4,
        CLASSIFIER: nn.Sequential(network.avgpool, nn.Flatten(), network.fc),
    }


def r3d_18(classes: int = 400) -> Backbone:
    """3-D ResNet-18 (Tran et al., CVPR 2018): 3×3×3 kernels throughout."""
    from torchvision.models import video as tv

    strides = {"res3": 2, "res4": 2, "res5": 2}
    return Backbone(_stages_of_resnet(tv.r3d_18(num_classes=classes)), _resnet_spec(strides))


def mc3_18(classes: int = 400) -> Backbone:
    """Mixed-convolution ResNet-18 (Tran et al., CVPR 2018): 3-D up to res2, 2-D after it, no temporal stride."""
    from torchvision.models import video as tv

    return Backbone(_stages_of_resnet(tv.mc3_18(num_classes=classes)), _resnet_spec({}))


def r2plus1d_18(classes: int = 400) -> Backbone:
    """R(2+1)D-18 (Tran et al., CVPR 2018): spatial and temporal kernels apart."""
    from torchvision.models import video as tv

    strides = {"res3": 2, "res4": 2, "res5": 2}
    return Backbone(_stages_of_resnet(tv.r2plus1d_18(num_classes=classes)), _resnet_spec(strides))


def _declare_fields(network: nn.Module) -> None:
    """Let torchvision's blocks say how far in time they look."""
    from torchvision.models.video.resnet import BasicBlock
    from torchvision.models.video.s3d import SepInceptionBlock3D

    for block in network.modules():
        if isinstance(block, BasicBlock):
            shortcut = nn.Identity() if block.downsample is None else block.downsample
            block.receptive_field = side_by_side(nn.Sequential(block.conv1, block.conv2), shortcut)
        elif isinstance(block, SepInceptionBlock3D):
            block.receptive_field = side_by_side(block.branch0, block.branch1, block.branch2, block.branch3)


class _S3DClassifier(nn.Module):
    """S3D's own classifier, with its 2×7×7 averaging window clipped to features smaller than that."""

    def __init__(self, network: tv.S3D) -> None:
        super().__init__()
        self.layers = network.classifier

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, 1024, T, H, W) to logits (N, classes)."""
        _, _, t, h, w = features.shape
        pooled = F.avg_pool3d(features, (min(2, t), min(7, h), min(7, w)), stride=1)
        logits: Tensor = self.layers(pooled).mean(dim=(2, 3, 4))
        return logits


def s3d(classes: int = 400) -> Backbone:
    """Separable 3-D Inception (Xie et al., ECCV 2018), cut where its feature maps halve.

    The pools that open res3, res4 and res5 stand at the end of the stage before in torchvision's list; here each
    belongs to the stage whose scale it makes.
    """
    from torchvision.models import video as tv

    network = tv.s3d(num_classes=classes)
    _declare_fields(network)
    layers = list(network.features)
    spec = BackboneSpec(
        clip_frames=128,
        stride=2,
        short_side=256,
        crop=224,
        mean=KINETICS_NORM.mean,
        std=KINETICS_NORM.std,
        temporal_strides={"stem": 2, "res4": 2, "res5": 2},
    )
    bounds = [*S3D_FIRST_LAYER.values(), len(layers)]
    stages: dict[str, nn.Module] = {
        name: nn.Sequential(*layers[start:end])
        for name, (start, end) in zip(S3D_FIRST_LAYER, itertools.pairwise(bounds), strict=True)
    }
    stages[CLASSIFIER] = _S3DClassifier(network)
    return Backbone(stages, spec)


class _MViTTrunk(nn.Module):
    """All of MViT but its classifier: a clip to what its class token has become."""

    def __init__(self, network: tv.MViT) -> None:
        super().__init__()
        self.conv_proj = network.conv_proj
        self.pos_encoding = network.pos_encoding
        self.blocks = network.blocks
        self.norm = network.norm

    def forward(self, clip: Tensor) -> Tensor:
        """Map (N, 3, 16, 224, 224) to (N, C, 1, 1, 1)."""
        tokens = self.pos_encoding(self.conv_proj(clip).flatten(2).transpose(1, 2))
        size = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        for block in self.blocks:
            tokens, size = block(tokens, size)
        features: Tensor = self.norm(tokens)[:, 0, :, None, None, None]
        return features


def _mvit(network: tv.MViT) -> Backbone:
    spec = BackboneSpec(
        clip_frames=16,
        stride=4,
        short_side=256,
        crop=224,
        mean=PYTORCHVIDEO_NORM.mean,
        std=PYTORCHVIDEO_NORM.std,
        central=True,
        fixed_length=True,
    )
    return Backbone({"trunk": _MViTTrunk(network), CLASSIFIER: nn.Sequential(nn.Flatten(), *network.head)}, spec)


def mvit_v1_b(classes: int = 400) -> Backbone:
    """MViT-B (Fan et al., ICCV 2021) for 16 frames of 224×224, to which its position embeddings belong."""
    from torchvision.models import video as tv

    return _mvit(tv.mvit_v1_b(num_classes=classes))


def mvit_v2_s(classes: int = 400) -> Backbone:
    """MViTv2-S (Li et al., CVPR 2022) for 16 frames of 224×224."""
    from torchvision.models import video as tv

    return _mvit(tv.mvit_v2_s(num_classes=classes))


class _OnTokens(nn.Sequential):
    """Layers of Video Swin, which has channels last: (N, C, T, H, W) to features of the same order of axes."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T, H', W')."""
        tokens = features.permute(0, 2, 3, 4, 1)
        for layer in self:
            tokens = layer(tokens)
        return tokens.permute(0, 4, 1, 2, 3)


class _PatchEmbedding(nn.Module):
    def __init__(self, network: tv.SwinTransformer3d) -> None:
        super().__init__()
        self.patch_embed = network.patch_embed

    def forward(self, clip: Tensor) -> Tensor:
        """Map (N, 3, T, H, W) to (N, C, T/2, H/4, W/4)."""
        tokens: Tensor = self.patch_embed(clip)
        return tokens.permute(0, 4, 1, 2, 3)


def _swin3d(network: tv.SwinTransformer3d) -> Backbone:
    """Windows of attention slide over any number of frames and any picture."""
    # Blocks, and before those of each stage but the first the merging of patches.
    first, *others = network.features
    stages: dict[str, nn.Module] = {"stem": _PatchEmbedding(network), "stage1": _OnTokens(first)}
    for number in range(2, 5):
        merging, blocks = others[2 * number - 4 : 2 * number - 2]
        last = (network.norm,) if number == 4 else ()
        stages[f"stage{number}"] = _OnTokens(merging, blocks, *last)
    stages[CLASSIFIER] = nn.Sequential(network.avgpool, nn.Flatten(), network.head)
    spec = BackboneSpec(
        clip_frames=32,
        stride=2,
        short_side=256,
        crop=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        temporal_strides={"stem": 2},
    )
    return Backbone(stages, spec)


def swin3d_t(classes: int = 400) -> Backbone:
    """Video Swin-T (Liu et al., CVPR 2022)."""
    from torchvision.models import video as tv

    return _swin3d(tv.swin3d_t(num_classes=classes))


def swin3d_s(classes: int = 400) -> Backbone:
    """Video Swin-S (Liu et al., CVPR 2022)."""
    from torchvision.models import video as tv

    return _swin3d(tv.swin3d_s(num_classes=classes))


def swin3d_b(classes: int = 400) -> Backbone:
    """Video Swin-B (Liu et al., CVPR 2022)."""
    from torchvision.models import video as tv

    return _swin3d(tv.swin3d_b(num_classes=classes))
