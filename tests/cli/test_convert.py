"""`vidcomp models convert` as a user runs it: converted weights make a model that classifies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from tests.zoo.public_checkpoints import CHECKPOINTS, slow_inflation, tensors
from tests.zoo.public_checkpoints import mmaction2 as mmaction2_shapes
from vidcomp.cli import app
from vidcomp.zoo.build import Variant, load_model


def convert(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["models", "convert", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MMAction2 checkpoint of Slow-only R50 for three classes."""
    path = tmp_path_factory.mktemp("checkpoint") / "slowonly.pth"
    torch.save({"state_dict": tensors(mmaction2_shapes(slow_inflation, 1, classes=3))}, path)
    return path


def test_converted_weights_make_a_model(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "slow.safetensors"
    result = convert(checkpoint, "--from", "mmaction2", "--output", output)
    assert result.exit_code == 0, result.output
    assert "backbone slow_r50, 3 classes" in result.stdout
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert digest in result.stdout
    manifest = tmp_path / "mine.yaml"
    content = {
        "name": "mine",
        "summary": "a test",
        "backbone": {"family": "slow_r50", "classes": 3, "weights": {"path": str(output), "sha256": digest}},
        "compressors": [{"cut": "res3", "kind": "sfc"}],
        "labels": ["a", "b", "c"],
    }
    manifest.write_text(yaml.safe_dump(content))
    model = load_model(str(manifest), Variant(compressor="none"))
    with torch.inference_mode():
        assert model.network(torch.zeros(1, 3, 2, 32, 32)).logits.shape == (1, 3)


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
        ("vmz", "a.safetensors", "slowonly.pth: nothing in the checkpoint gives r2plus1d_"),
        ("mmaction2", "absent/a.safetensors", "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    checkpoint: Path, tmp_path: Path, source: str, output: str, message: str
) -> None:
    result = convert(checkpoint, "--from", source, "--output", tmp_path / output)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
