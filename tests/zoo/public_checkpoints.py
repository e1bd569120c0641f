"""Key names and shapes of public checkpoints, written out from the publishers' own definitions of their networks.

Nothing here looks at vidcomp's networks or its rules: a converter that passes was tested against facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
DEPTHS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    """Random tensors of those shapes; variances are positive."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.zeros(shape, dtype=torch.int64)
        if key.endswith("num_batches_tracked")
        else torch.rand(shape, generator=generator) * 0.02 + 0.01
        for key, shape in shapes.items()
    }


def norm(prefix: str, channels: int) -> Shapes:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (channels,) for name in names} | {f"{prefix}.num_batches_tracked": ()}


def linear(prefix: str, inputs: int, outputs: int) -> Shapes:
    return {f"{prefix}.weight": (outputs, inputs), f"{prefix}.bias": (outputs,)}


def bottlenecks(depth: int = 50) -> Iterator[tuple[int, int, int, int, int]]:
    """(stage from 1, block, channels in, width, channels out) of every bottleneck of a residual network."""
    inputs = 64
    for stage, count in enumerate(DEPTHS[depth], 1):
        width = 32 * 2**stage
        for block in range(count):
            yield stage, block, inputs, width, 4 * width
            inputs = 4 * width


# Temporal extent of the first kernel of a bottleneck, by stage and block.
def slow_inflation(stage: int, block: int) -> int:
    return 3 if stage >= 3 else 1


def no_inflation(stage: int, block: int) -> int:
    return 1


def i3d_inflation(stage: int, block: int) -> int:
    return {1: (3, 3, 3), 2: (3, 1, 3, 1), 3: (3, 1, 3, 1, 3, 1), 4: (1, 3, 1)}[stage][block]


def pytorchvideo(
    inflation: Callable[[int, int], int], stem: int, numbers: tuple[int, int, int, int], head: int, classes: int = 400
) -> Shapes:
    """slow_r50 and i3d_r50; ``numbers`` are the blocks that are residual stages."""
    shapes: Shapes = {"blocks.0.conv.weight": (64, 3, stem, 7, 7)} | norm("blocks.0.norm", 64)
    for stage, block, inputs, width, outputs in bottlenecks():
        key = f"blocks.{numbers[stage - 1]}.res_blocks.{block}"
        if block == 0:
            shapes |= {f"{key}.branch1_conv.weight": (outputs, inputs, 1, 1, 1)} | norm(f"{key}.branch1_norm", outputs)
        shapes[f"{key}.branch2.conv_a.weight"] = (width, inputs, inflation(stage, block), 1, 1)
        shapes |= norm(f"{key}.branch2.norm_a", width)
        shapes[f"{key}.branch2.conv_b.weight"] = (width, width, 1, 3, 3)
        shapes |= norm(f"{key}.branch2.norm_b", width)
        shapes[f"{key}.branch2.conv_c.weight"] = (outputs, width, 1, 1, 1)
        shapes |= norm(f"{key}.branch2.norm_c", outputs)
    return shapes | linear(f"blocks.{head}.proj", 2048, classes)


def pytorchvideo_r2plus1d() -> Shapes:
    shapes: Shapes = {"blocks.0.conv.weight": (64, 3, 1, 7, 7)} | norm("blocks.0.norm", 64)
    for stage, block, inputs, width, outputs in bottlenecks():
        key = f"blocks.{stage}.res_blocks.{block}"
        if block == 0:
            shapes |= {f"{key}.branch1_conv.weight": (outputs, inputs, 1, 1, 1)} | norm(f"{key}.branch1_norm", outputs)
        shapes[f"{key}.branch2.conv_a.weight"] = (width, inputs, 1, 1, 1)
        shapes |= norm(f"{key}.branch2.norm_a", width)
        shapes[f"{key}.branch2.conv_b.conv_t.weight"] = (width, width, 3, 1, 1)
        shapes |= norm(f"{key}.branch2.conv_b.norm", width)
        shapes[f"{key}.branch2.conv_b.conv_xy.weight"] = (width, width, 1, 3, 3)
        shapes |= norm(f"{key}.branch2.norm_b", width)
        shapes[f"{key}.branch2.conv_c.weight"] = (outputs, width, 1, 1, 1)
        shapes |= norm(f"{key}.branch2.norm_c", outputs)
    return shapes | linear("blocks.5.proj", 2048, 400)


def mmaction2(inflation: Callable[[int, int], int], stem: int, classes: int = 400) -> Shapes:
    shapes: Shapes = {"backbone.conv1.conv.weight": (64, 3, stem, 7, 7)} | norm("backbone.conv1.bn", 64)
    for stage, block, inputs, width, outputs in bottlenecks():
        key = f"backbone.layer{stage}.{block}"
        shapes[f"{key}.conv1.conv.weight"] = (width, inputs, inflation(stage, block), 1, 1)
        shapes |= norm(f"{key}.conv1.bn", width)
        shapes[f"{key}.conv2.conv.weight"] = (width, width, 1, 3, 3)
        shapes |= norm(f"{key}.conv2.bn", width)
        shapes[f"{key}.conv3.conv.weight"] = (outputs, width, 1, 1, 1)
        shapes |= norm(f"{key}.conv3.bn", outputs)
        if block == 0:
            shapes |= {f"{key}.downsample.conv.weight": (outputs, inputs, 1, 1, 1)} | norm(
                f"{key}.downsample.bn", outputs
            )
    return shapes | linear("cls_head.fc_cls", 2048, classes)


def mmaction2_tpn() -> Shapes:
    shapes = mmaction2(slow_inflation, 1)
    shapes["neck.spatial_modulation.spatial_modulation.0.0.conv.weight"] = (2048, 1024, 1, 3, 3)
    shapes |= norm("neck.spatial_modulation.spatial_modulation.0.0.bn", 2048)
    for level in (0, 1):
        shapes[f"neck.temporal_modulation_ops.{level}.conv.conv.weight"] = (1024, 64, 3, 1, 1)
        for flow in (1, 2):
            shapes[f"neck.level_fusion_{flow}.downsamples.{level}.conv.conv.weight"] = (1024, 32, 1, 1, 1)
            shapes |= norm(f"neck.level_fusion_{flow}.downsamples.{level}.conv.bn", 1024)
    for flow in (1, 2):
        shapes[f"neck.level_fusion_{flow}.fusion_conv.conv.weight"] = (2048, 2048, 1, 1, 1)
        shapes |= norm(f"neck.level_fusion_{flow}.fusion_conv.bn", 2048)
    shapes["neck.downsample_ops.0.conv.conv.weight"] = (1024, 1024, 3, 1, 1)
    shapes |= {"neck.pyramid_fusion.conv.weight": (2048, 4096, 1, 1, 1)} | norm("neck.pyramid_fusion.bn", 2048)
    shapes |= {"neck.aux_head.conv.conv.weight": (2048, 1024, 1, 3, 3)} | norm("neck.aux_head.conv.bn", 2048)
    return shapes | linear("neck.aux_head.fc", 2048, 400)


def tpn_slow() -> Shapes:
    shapes: Shapes = {"backbone.conv1.weight": (64, 3, 1, 7, 7)} | norm("backbone.bn1", 64)
    for stage, block, inputs, width, outputs in bottlenecks():
        key = f"backbone.layer{stage}.{block}"
        shapes[f"{key}.conv1.weight"] = (width, inputs, slow_inflation(stage, block), 1, 1)
        shapes[f"{key}.conv2.weight"] = (width, width, 1, 3, 3)
        shapes |= norm(f"{key}.bn1", width) | norm(f"{key}.bn2", width)
        shapes[f"{key}.conv3.weight"] = (outputs, width, 1, 1, 1)
        shapes |= norm(f"{key}.bn3", outputs)
        if block == 0:
            shapes |= {f"{key}.downsample.0.weight": (outputs, inputs, 1, 1, 1)} | norm(f"{key}.downsample.1", outputs)
    return shapes | linear("cls_head.fc_cls", 2048, 400)


def tpn() -> Shapes:
    shapes = tpn_slow()
    shapes["necks.spatial_modulation.spatial_modulation.0.0.conv.weight"] = (2048, 1024, 1, 3, 3)
    shapes |= norm("necks.spatial_modulation.spatial_modulation.0.0.bn", 2048)
    for level in (0, 1):
        shapes[f"necks.temporal_modulation_ops.{level}.conv.weight"] = (1024, 64, 3, 1, 1)
        for flow in ("op", "op2"):
            shapes[f"necks.level_fusion_{flow}.ops.{level}.conv.weight"] = (1024, 32, 1, 1, 1)
            shapes |= norm(f"necks.level_fusion_{flow}.ops.{level}.norm", 1024)
    for flow in ("op", "op2"):
        shapes[f"necks.level_fusion_{flow}.fusion_conv.0.weight"] = (2048, 2048, 1, 1, 1)
        shapes |= norm(f"necks.level_fusion_{flow}.fusion_conv.1", 2048)
    shapes["necks.downsampling_ops.0.conv.weight"] = (1024, 1024, 3, 1, 1)
    shapes |= {"necks.pyramid_fusion_op.0.weight": (2048, 4096, 1, 1, 1)} | norm("necks.pyramid_fusion_op.1", 2048)
    shapes |= {"necks.aux_head.convs.0.conv.weight": (2048, 1024, 1, 3, 3)} | norm("necks.aux_head.convs.0.bn", 2048)
    return shapes | linear("necks.aux_head.fc", 2048, 400)


def _middle(inputs: int, outputs: int) -> int:
    return inputs * outputs * 27 // (inputs * 9 + 3 * outputs)


def _two_plus_one(key: str, inputs: int, outputs: int) -> Shapes:
    middle = _middle(inputs, outputs)
    shapes: Shapes = {f"{key}.0.0.weight": (middle, inputs, 1, 3, 3), f"{key}.0.3.weight": (outputs, middle, 3, 1, 1)}
    return shapes | norm(f"{key}.0.1", middle) | norm(f"{key}.1", outputs)


def _vmz_stem() -> Shapes:
    shapes: Shapes = {"stem.0.weight": (45, 3, 1, 7, 7), "stem.3.weight": (64, 45, 3, 1, 1)}
    return shapes | norm("stem.1", 45) | norm("stem.4", 64)


def vmz_34(classes: int = 400) -> Shapes:
    shapes, inputs = _vmz_stem(), 64
    for stage, count in enumerate(DEPTHS[34], 1):
        width = 32 * 2**stage
        for block in range(count):
            key = f"layer{stage}.{block}"
            shapes |= _two_plus_one(f"{key}.conv1", inputs, width) | _two_plus_one(f"{key}.conv2", width, width)
            if block == 0 and stage > 1:
                shapes |= {f"{key}.downsample.0.weight": (width, inputs, 1, 1, 1)} | norm(f"{key}.downsample.1", width)
            inputs = width
    return shapes | linear("fc", 512, classes)


def vmz_152(classes: int = 400) -> Shapes:
    shapes = _vmz_stem()
    for stage, block, inputs, width, outputs in bottlenecks(152):
        key = f"layer{stage}.{block}"
        shapes |= {f"{key}.conv1.0.weight": (width, inputs, 1, 1, 1)} | norm(f"{key}.conv1.1", width)
        shapes |= _two_plus_one(f"{key}.conv2", width, width)
        shapes |= {f"{key}.conv3.0.weight": (outputs, width, 1, 1, 1)} | norm(f"{key}.conv3.1", outputs)
        if block == 0:
            shapes |= {f"{key}.downsample.0.weight": (outputs, inputs, 1, 1, 1)} | norm(f"{key}.downsample.1", outputs)
    return shapes | linear("fc", 2048, classes)


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


# (publisher, backbone family) → shapes of one of its checkpoints.
CHECKPOINTS: dict[tuple[str, str], Shapes] = {
    ("pytorchvideo", "slow_r50"): pytorchvideo(slow_inflation, 1, (1, 2, 3, 4), 5),
    ("pytorchvideo", "i3d_r50"): pytorchvideo(i3d_inflation, 5, (1, 3, 4, 5), 6),
    ("pytorchvideo", "c2d_r50"): pytorchvideo(no_inflation, 1, (1, 3, 4, 5), 6),
    ("pytorchvideo", "r2plus1d_r50"): pytorchvideo_r2plus1d(),
    ("mmaction2", "slow_r50"): mmaction2(slow_inflation, 1),
    ("mmaction2", "i3d_r50"): mmaction2(i3d_inflation, 5),
    ("mmaction2", "tpn_r50"): mmaction2_tpn(),
    ("tpn", "slow_r50"): tpn_slow(),
    ("tpn", "tpn_r50"): tpn(),
    ("vmz", "r2plus1d_34"): vmz_34(),
    ("vmz", "r2plus1d_152"): vmz_152(),
}
