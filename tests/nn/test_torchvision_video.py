"""The adapters give what torchvision's own networks give, with its weights under its key names."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import video as tv

from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.backbones.torchvision_video import rename_torchvision_keys


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("r3d_18", (4, 32, 32)),
        ("mc3_18", (4, 32, 32)),
        ("r2plus1d_18", (4, 32, 32)),
        ("s3d", (16, 224, 224)),
    ],
)
def test_same_logits_as_torchvision(family: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    reference = getattr(tv, family)(num_classes=7).eval()
    backbone = BACKBONES[family](classes=7).eval()
    backbone.load_state_dict(rename_torchvision_keys(family, reference.state_dict()))
    clip = torch.randn(1, 3, *shape)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clip), reference(clip))


def test_a_foreign_key_is_named() -> None:
    with pytest.raises(KeyError, match="layer9"):
        rename_torchvision_keys("r3d_18", {"layer9.weight": torch.zeros(1)})


@pytest.mark.parametrize("family", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"])
def test_temporal_strides_are_those_of_the_features(family: str) -> None:
    backbone = BACKBONES[family](classes=7).eval()
    features = torch.randn(1, 3, 32, 64, 64)
    with torch.inference_mode():
        for name in backbone.cuts:
            features = backbone.stages[name](features)
            assert features.shape[2] * backbone.temporal_stride(name) == 32
