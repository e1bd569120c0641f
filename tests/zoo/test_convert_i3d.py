"""I3D's pickle of numpy arrays converts whole, in torch's order of axes, and no other pickle runs anything."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.backbones.i3d_inception import _MIXED as MIXED
from vidcomp.zoo import WeightsError
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.convert import SOURCES, convert_file
from vidcomp.zoo.manifest import find_manifest

Arrays = dict[str, Any]


def published(classes: int = 5) -> Arrays:
    """Arrays of the published names and shapes, all different; a narrow network would not have its shapes."""
    random = np.random.default_rng(0)
    params: Arrays = {}
    statistics: Arrays = {}

    def unit(place: Arrays, means: Arrays, name: str, size: int, inputs: int, outputs: int) -> None:
        kernel = random.random((size, size, size, inputs, outputs), np.float32)
        bias = random.random(outputs, np.float32)
        place[name] = {"Conv_0": {"kernel": kernel}, "BatchNorm_0": {"bias": bias}}
        means[name] = {
            "BatchNorm_0": {key: random.random((1, 1, 1, 1, outputs), np.float32) + 1 for key in ("mean", "var")}
        }

    for name, size, inputs, outputs in (("1a_7x7", 7, 3, 64), ("2b_1x1", 1, 64, 64), ("2c_3x3", 3, 64, 192)):
        unit(params, statistics, f"Conv3d_{name}", size, inputs, outputs)
    for name, (inputs, plain, wide, narrow, pooled) in MIXED.items():
        branches = params[f"Mixed_{name}"] = {}
        means = statistics[f"Mixed_{name}"] = {}
        unit(branches, means, "Branch_0/Conv3d_0a_1x1", 1, inputs, plain)
        for number, (reduced, outputs) in enumerate((wide, narrow), 1):
            unit(branches, means, f"Branch_{number}/Conv3d_0a_1x1", 1, inputs, reduced)
            unit(branches, means, f"Branch_{number}/Conv3d_0b_3x3", 3, reduced, outputs)
        unit(branches, means, "Branch_3/Conv3d_0b_1x1", 1, inputs, pooled)
    linear = {"kernel": random.random((1, 1, 1, 1024, classes), np.float32), "bias": np.zeros(classes, np.float32)}
    params["Logits/Conv3d_0c_1x1"] = {"Conv_0": linear}
    return {"params": params, "batch_stats": statistics}


def write(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return published()


def test_every_array_arrives_in_torchs_layout(arrays: Arrays, tmp_path: Path) -> None:
    tensors, report = convert_file(write(tmp_path / "i3d.ckpt", arrays), SOURCES["i3d"])
    assert (report.family, report.classes) == ("i3d_inception", 5)
    assert len(report.renamed) == 230
    assert not report.unused
    network = BACKBONES["i3d_inception"](classes=5)
    network.load_state_dict(tensors, strict=True)
    kernel = arrays["params"]["Mixed_4f"]["Branch_1/Conv3d_0b_3x3"]["Conv_0"]["kernel"]
    weight = tensors["stages.mixed_4.wide.1.conv.weight"]
    assert weight[7, 5, 0, 1, 2] == kernel[0, 1, 2, 5, 7]
    variance = arrays["batch_stats"]["Mixed_3b"]["Branch_3/Conv3d_0b_1x1"]["BatchNorm_0"]["var"]
    assert np.array_equal(tensors["stages.mixed_3b.pooled.1.bn.running_var"], variance.reshape(-1))
    linear = arrays["params"]["Logits/Conv3d_0c_1x1"]["Conv_0"]["kernel"]
    assert np.array_equal(tensors["stages.classifier.linear.weight"], linear[0, 0, 0].T)


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"params": Runs()}, "only arrays are read"),
        ({"params": {"a": "text"}}, "params/a is no array of numbers"),
        ({"params": {"a": np.array([Ellipsis], object)}}, "not readable"),
        ([1, 2], "its content is no array of numbers"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    content: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=message):
        convert_file(write(tmp_path / "i3d.ckpt", content), SOURCES["i3d"])
    assert not (tmp_path / "ran").exists()


def test_a_missing_array_is_named(arrays: Arrays, tmp_path: Path) -> None:
    less = {**arrays, "params": {key: value for key, value in arrays["params"].items() if key != "Mixed_5c"}}
    with pytest.raises(WeightsError, match=r"nothing in the checkpoint gives i3d_inception its stages\.mixed_5\."):
        convert_file(write(tmp_path / "i3d.ckpt", less), SOURCES["i3d"])


def test_the_weights_that_ship_are_stored_in_16_bits_and_computed_in_32() -> None:
    backbone = load_backbone(find_manifest("kinetics400-i3d"))
    assert {tensor.dtype for tensor in backbone.state_dict().values()} == {torch.float32, torch.int64}
