"""PyTorchVideo's X3D and SlowFast: key names and shapes written out from its definitions, and their conversion.

The tables look neither at vidcomp's networks nor at its rules.
"""

from __future__ import annotations

import pytest
import torch

from tests.zoo.public_checkpoints import Shapes, linear, norm, tensors
from vidcomp.nn.backbones import BACKBONES
from vidcomp.zoo.convert import SOURCES, recognize_family

PYTORCHVIDEO = SOURCES["pytorchvideo"]

# Blocks a stage, channels of each stage, channels within its blocks, and of its squeeze-and-excitation (X3D-S and -L).
X3D_CHANNELS = (24, 48, 96, 192)
X3D_INNER = (54, 108, 216, 432)
X3D_SQUEEZED = (8, 8, 16, 32)


def x3d(depths: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {
        "blocks.0.conv.conv_t.weight": (24, 3, 1, 3, 3),
        "blocks.0.conv.conv_xy.weight": (24, 1, 5, 1, 1),
    } | norm("blocks.0.norm", 24)
    inputs = 24
    stages = zip(depths, X3D_CHANNELS, X3D_INNER, X3D_SQUEEZED, strict=True)
    for stage, (depth, outputs, inner, squeezed) in enumerate(stages, 1):
        for block in range(depth):
            key = f"blocks.{stage}.res_blocks.{block}"
            if block == 0:
                shapes[f"{key}.branch1_conv.weight"] = (outputs, inputs, 1, 1, 1)
                if inputs != outputs:
                    shapes |= norm(f"{key}.branch1_norm", outputs)
            shapes[f"{key}.branch2.conv_a.weight"] = (inner, inputs, 1, 1, 1)
            shapes |= norm(f"{key}.branch2.norm_a", inner)
            shapes[f"{key}.branch2.conv_b.weight"] = (inner, 1, 3, 3, 3)
            shapes |= norm(f"{key}.branch2.norm_b.0", inner)
            if block % 2 == 0:
                shapes[f"{key}.branch2.norm_b.1.block.0.weight"] = (squeezed, inner, 1, 1, 1)
                shapes[f"{key}.branch2.norm_b.1.block.0.bias"] = (squeezed,)
                shapes[f"{key}.branch2.norm_b.1.block.2.weight"] = (inner, squeezed, 1, 1, 1)
                shapes[f"{key}.branch2.norm_b.1.block.2.bias"] = (inner,)
            shapes[f"{key}.branch2.conv_c.weight"] = (outputs, inner, 1, 1, 1)
            shapes |= norm(f"{key}.branch2.norm_c", outputs)
            inputs = outputs
    shapes["blocks.5.pool.pre_conv.weight"] = (432, 192, 1, 1, 1)
    shapes |= norm("blocks.5.pool.pre_norm", 432)
    shapes["blocks.5.pool.post_conv.weight"] = (2048, 432, 1, 1, 1)
    return shapes | linear("blocks.5.proj", 2048, 400)


def slowfast(fusion_kernel: int) -> Shapes:
    shapes: Shapes = {}
    for pathway, (channels, kernel) in enumerate(((64, 1), (8, 5))):
        shapes[f"blocks.0.multipathway_blocks.{pathway}.conv.weight"] = (channels, 3, kernel, 7, 7)
        shapes |= norm(f"blocks.0.multipathway_blocks.{pathway}.norm", channels)
    for stage, fast in enumerate((8, 32, 64, 128)):
        key = f"blocks.{stage}.multipathway_fusion"
        shapes[f"{key}.conv_fast_to_slow.weight"] = (2 * fast, fast, fusion_kernel, 1, 1)
        shapes |= norm(f"{key}.norm", 2 * fast)
    for pathway, shrink in ((0, 1), (1, 8)):
        outputs = 64 // shrink
        for stage, depth in enumerate((3, 4, 6, 3), 1):
            # The fusion has widened what the slow pathway's stage receives by a quarter.
            inputs = outputs * 5 // 4 if pathway == 0 else outputs
            inner = 32 * 2**stage // shrink
            outputs = 4 * inner
            kernel = 3 if pathway == 1 or stage >= 3 else 1
            for block in range(depth):
                key = f"blocks.{stage}.multipathway_blocks.{pathway}.res_blocks.{block}"
                if block == 0:
                    shapes[f"{key}.branch1_conv.weight"] = (outputs, inputs, 1, 1, 1)
                    shapes |= norm(f"{key}.branch1_norm", outputs)
                shapes[f"{key}.branch2.conv_a.weight"] = (inner, inputs, kernel, 1, 1)
                shapes |= norm(f"{key}.branch2.norm_a", inner)
                shapes[f"{key}.branch2.conv_b.weight"] = (inner, inner, 1, 3, 3)
                shapes |= norm(f"{key}.branch2.norm_b", inner)
                shapes[f"{key}.branch2.conv_c.weight"] = (outputs, inner, 1, 1, 1)
                shapes |= norm(f"{key}.branch2.norm_c", outputs)
                inputs = outputs
    return shapes | linear("blocks.6.proj", 2304, 400)


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
