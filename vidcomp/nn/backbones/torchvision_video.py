"""Adapters that give torchvision's video networks named stages: r3d_18, mc3_18, r2plus1d_18 and s3d.

The networks and their public Kinetics-400 weights are torchvision's; only the slicing and the specification (its
reference preprocessing) are ours. Their references sample 15 frames a second, which is every second frame at the
30 frames a second of most videos.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, KINETICS_NORM, Backbone, BackboneSpec
from vidcomp.nn.receptive_field import side_by_side

if TYPE_CHECKING:
    from torchvision.models import video as tv

# torchvision is imported where a network of it is built: that takes as long as all else, and most models need none.

# Where each stage begins in torchvision's list of S3D's layers, and how many layers that list has.
_S3D_FIRST_LAYER = {"stem": 0, "res2": 1, "res3": 4, "res4": 7, "res5": 13}
_S3D_LAYERS = 16


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
    bounds = [*_S3D_FIRST_LAYER.values(), len(layers)]
    stages: dict[str, nn.Module] = {
        name: nn.Sequential(*layers[start:end])
        for name, (start, end) in zip(_S3D_FIRST_LAYER, itertools.pairwise(bounds), strict=True)
    }
    stages[CLASSIFIER] = _S3DClassifier(network)
    return Backbone(stages, spec)


_RESNET_KEYS = {
    "stem.": "stages.stem.",
    "layer1.": "stages.res2.",
    "layer2.": "stages.res3.",
    "layer3.": "stages.res4.",
    "layer4.": "stages.res5.",
    "fc.": "stages.classifier.2.",
}


def rename_torchvision_keys(family: str, checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of torchvision's checkpoint the key names of this module's staged network.

    Raises:
        KeyError: a key belongs to no stage of the family.
    """
    renames = _RESNET_KEYS if family != "s3d" else _s3d_keys()
    renamed = {}
    for key, tensor in checkpoint.items():
        old = next((prefix for prefix in renames if key.startswith(prefix)), None)
        if old is None:
            raise KeyError(f"{key} belongs to no stage of {family}")
        renamed[renames[old] + key.removeprefix(old)] = tensor
    return renamed


def _s3d_keys() -> dict[str, str]:
    keys = {"classifier.": "stages.classifier.layers."}
    firsts = list(_S3D_FIRST_LAYER.items())
    for layer in range(_S3D_LAYERS):
        stage, first = next((name, start) for name, start in reversed(firsts) if start <= layer)
        keys[f"features.{layer}."] = f"stages.{stage}.{layer - first}."
    return keys
