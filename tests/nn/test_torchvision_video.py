"""The adapters give what torchvision's own networks give, with its weights under its key names."""

from __future__ import annotations

import pytest
import torch

from vidcomp.nn.backbones import BACKBONES
from vidcomp.zoo.convert import SOURCES, recognize_family


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("r3d_18", (4, 32, 32)),
        ("mc3_18", (4, 32, 32)),
        ("r2plus1d_18", (4, 32, 32)),
        ("s3d", (16, 224, 224)),
        ("swin3d_t", (8, 64, 64)),
        pytest.param("mvit_v1_b", (16, 224, 224), marks=pytest.mark.slow),
        pytest.param("mvit_v2_s", (16, 224, 224), marks=pytest.mark.slow),
    ],
)
def test_same_logits_as_torchvision(family: str, shape: tuple[int, int, int]) -> None:
    from torchvision.models import video as networks  # takes long, and few tests need it

    torch.manual_seed(0)
    reference = getattr(networks, family)(num_classes=7).eval()
    backbone = BACKBONES[family](classes=7).eval()
    converted, _ = recognize_family(reference.state_dict(), SOURCES["torchvision"], family)
    backbone.load_state_dict(converted)
    clip = torch.randn(1, 3, *shape)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clip), reference(clip))


@pytest.mark.parametrize("family", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"])
def test_temporal_strides_are_those_of_the_features(family: str) -> None:
    backbone = BACKBONES[family](classes=7).eval()
    features = torch.randn(1, 3, 32, 32, 32)
    with torch.inference_mode():
        for name in backbone.cuts:
            features = backbone.stages[name](features)
            assert features.shape[2] * backbone.temporal_stride(name) == 32
