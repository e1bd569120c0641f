"""`vidcomp models convert` as a user runs it: converted weights make a model that classifies."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.zoo.public_checkpoints import CHECKPOINTS, slow_inflation, tensors
from tests.zoo.public_checkpoints import mmaction2 as mmaction2_shapes
from vidcomp.cli import app
from vidcomp.nn.backbones.base import IMAGENET_NORM
from vidcomp.zoo.build import Variant, load_model


def convert(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["models", "convert", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MMAction2 checkpoint of Slow-only R50 for three classes."""
    path = tmp_path_factory.mktemp("checkpoint") / "slowonly.pth"
    torch.save({"state_dict": tensors(mmaction2_shapes(slow_inflation, 1, classes=3))}, path)
    return path


def test_what_is_converted_is_a_model(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "slow.safetensors"
    labels = tmp_path / "labels.txt"
    labels.write_text("jump\nrun\nswim\n")
    result = convert(checkpoint, "--output", output, "--labels", labels)
    assert result.exit_code == 0, result.output
    assert "backbone slow_r50, 3 classes" in result.stdout
    manifest = output.with_suffix(".yaml")
    assert f"vidcomp classify VIDEO --model {manifest}" in result.stdout
    model = load_model(str(manifest), Variant(compressor="none"))
    assert (model.manifest.name, model.manifest.base, model.labels) == (
        "slow",
        "slowonly_r50_4x16",
        ("jump", "run", "swim"),
    )
    assert model.spec.mean == pytest.approx(IMAGENET_NORM.mean, abs=1e-6)
    with torch.inference_mode():
        assert model.network(torch.zeros(1, 3, 2, 32, 32)).logits.shape == (1, 3)


def test_a_pickle_with_code_in_it_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save({"state_dict": {"a": torch.zeros(2)}, "options": argparse.Namespace(a=1)}, path)
    result = convert(path)
    assert result.exit_code == 2
    assert "it names argparse.Namespace, and only tensors are read" in result.stderr
    assert (
        "torch.save(c.get('state_dict', c) if isinstance(c, dict) else c.state_dict(), 'tensors.pth')" in result.stderr
    )
    assert [file.name for file in tmp_path.iterdir()] == ["mine.pth"]


@pytest.mark.parametrize("container", ["model", "model_state_dict"])
def test_what_ones_own_training_saved_is_found(checkpoint: Path, tmp_path: Path, container: str) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    path = tmp_path / "parallel.pth"
    torch.save({"epoch": 3, container: {f"module.{key}": value for key, value in state.items()}}, path)
    result = convert(path)
    assert result.exit_code == 0, result.output
    assert "backbone slow_r50, 3 classes" in result.stdout
    # Others read it as far as they may read the checkpoint.
    assert path.with_suffix(".safetensors").stat().st_mode == path.stat().st_mode


def test_nothing_is_overwritten_that_was_not_named(checkpoint: Path, tmp_path: Path) -> None:
    path, weights, manifest = (tmp_path / f"slow.{kind}" for kind in ("pth", "safetensors", "yaml"))
    path.symlink_to(checkpoint)
    manifest.write_text("lr: 0.1\n")
    result = convert(path)
    assert result.exit_code == 2
    assert f"{manifest}: this file would be overwritten" in result.stderr
    assert manifest.read_text() == "lr: 0.1\n"
    manifest.unlink()
    weights.write_bytes(b"mine")
    assert f"{weights}: this file would be overwritten" in convert(path).stderr
    assert convert(path, "--output", weights).exit_code == 0
    # What a conversion made is made anew.
    assert convert(path).exit_code == 0


def test_the_report_names_every_key(checkpoint: Path, tmp_path: Path) -> None:
    result = convert(checkpoint, "--from", "mmaction2", "--output", tmp_path / "a.safetensors", "--json")
    report = json.loads(result.stdout)
    assert set(report["renamed"]) == set(CHECKPOINTS["mmaction2", "slow_r50"])
    assert report["unused"] == {}
    assert report["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    listed = convert(checkpoint, "--from", "mmaction2", "--output", tmp_path / "a.safetensors", "--keys").stdout
    assert "backbone.conv1.conv.weight -> stages.stem.conv.conv.weight" in listed


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("nobody", "a.safetensors", "--from 'nobody': choose one of mmaction2, pytorchvideo, tpn, vmz"),
        ("mmaction2", "a.pth", "must end in .safetensors"),
        ("vmz", "a.safetensors", "slowonly.pth: none of its 320 tensors belongs to r2plus1d_34"),
        ("mmaction2", "absent/a.safetensors", "cannot be written"),
        ("mmaction2", "{checkpoint}", "must end in .safetensors"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    checkpoint: Path, tmp_path: Path, source: str, output: str, message: str
) -> None:
    result = convert(checkpoint, "--from", source, "--output", tmp_path / output.format(checkpoint=checkpoint))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Errno" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_of_another_network_is_told_in_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"encoder.weight": torch.zeros(3, 3), "encoder.bias": torch.zeros(3)}, other)
    result = convert(other)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"vidcomp: error: {other}: it is none of mmaction2, pytorchvideo, tpn, vmz, torchvision, i3d\n"
    )
