"""PyTorchVideo's X3D and SlowFast convert whole."""

from __future__ import annotations

import pytest
import torch

from tests.zoo.public_checkpoints import slowfast, tensors, x3d
from vidcomp.nn.backbones import BACKBONES
from vidcomp.zoo.convert import SOURCES, recognize_family

PYTORCHVIDEO = SOURCES["pytorchvideo"]

CHECKPOINTS = {
    "x3d_s": x3d((3, 5, 11, 7)),
    "x3d_l": x3d((5, 10, 25, 15)),
    "slowfast_4x16_r50": slowfast(5),
    "slowfast_8x8_r50": slowfast(7),
}


@pytest.mark.parametrize("family", CHECKPOINTS)
def test_every_key_has_its_place(family: str) -> None:
    shapes = CHECKPOINTS[family]
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    converted, report = recognize_family(meta, PYTORCHVIDEO)
    assert report.family == family
    assert report.classes == 400
    assert set(report.renamed) == set(shapes)
    assert not report.problems
    with torch.device("meta"):
        BACKBONES[family]().load_state_dict(converted, strict=True, assign=True)


@pytest.mark.parametrize("family", ["x3d_xs", "x3d_m"])
def test_the_small_x3ds_share_their_weights(family: str) -> None:
    meta = {key: torch.empty(shape, device="meta") for key, shape in CHECKPOINTS["x3d_s"].items()}
    _, report = recognize_family(meta, PYTORCHVIDEO, family)
    assert not report.problems


@pytest.mark.parametrize(
    ("family", "places"),
    [
        (
            "x3d_s",
            {
                "blocks.0.conv.conv_t.weight": "stages.stem.spatial.weight",
                "blocks.1.res_blocks.0.branch1_conv.weight": "stages.res2.0.shortcut.weight",
                "blocks.2.res_blocks.0.branch1_conv.weight": "stages.res3.0.shortcut.conv.weight",
                "blocks.3.res_blocks.2.branch2.norm_b.1.block.2.bias": "stages.res4.2.squeeze.excite.bias",
                "blocks.5.pool.post_conv.weight": "stages.classifier.widen.weight",
            },
        ),
        (
            "slowfast_4x16_r50",
            {
                "blocks.0.multipathway_blocks.1.norm.running_mean": "stages.stem.fast.conv.bn.running_mean",
                "blocks.1.multipathway_fusion.conv_fast_to_slow.weight": "stages.res2.lateral.convolution.conv.weight",
                "blocks.4.multipathway_blocks.0.res_blocks.2.branch2.conv_a.weight": (
                    "stages.res5.slow.2.branch.reduce.conv.weight"
                ),
                "blocks.6.proj.weight": "stages.classifier.linear.weight",
            },
        ),
    ],
)
def test_tensors_arrive_where_they_belong_and_run(family: str, places: dict[str, str]) -> None:
    original = tensors(CHECKPOINTS[family])
    converted, _ = recognize_family(original, PYTORCHVIDEO)
    for theirs, ours in places.items():
        assert converted[ours] is original[theirs]
    with torch.device("meta"):
        network = BACKBONES[family]()
    network.load_state_dict(converted, strict=True, assign=True)
    with torch.inference_mode():
        assert network.eval()(torch.randn(1, 3, 8, 32, 32)).isfinite().all()
