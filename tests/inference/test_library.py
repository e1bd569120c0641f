"""What a program that uses the library relies on: paths, names of strategies, answers that compare, nothing changed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vidcomp
from tests.tiny_model import make_tiny_model
from vidcomp.evaluation.evaluator import Evaluator
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import StrategyError
from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import load_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path, kind="sfc")


def test_paths_are_taken_wherever_names_are(model: Path, clip: Path) -> None:
    with vidcomp.load(model, device="cpu") as classifier:
        one = classifier.classify(clip)
        assert one == classifier.classify(str(clip))
        assert list(classifier.classify_all([clip, str(clip)])) == [one, one]
    assert one.ok
    assert one.path == str(clip)
    with Evaluator(model, [clip], ["whole"], device="cpu") as evaluator:
        assert [video.path for video in evaluator.videos] == [str(clip)]


def test_equal_predictions_are_equal_and_others_are_not(model: Path, clip: Path) -> None:
    with vidcomp.load(model, device="cpu") as classifier:
        one, same = classifier.classify(clip), classifier.classify(clip)
    assert one.attention is not None
    assert one.timing != same.timing
    assert one == same
    assert len({one, same}) == 1
    changed = dataclasses.replace(one.attention, weights=one.attention.weights / 2)
    assert dataclasses.replace(one, attention=changed) != one
    assert dataclasses.replace(one, attention=None) != one
    assert one.attention != "a map"


def test_a_prediction_becomes_the_json_record(model: Path, clip: Path) -> None:
    with vidcomp.load(model, device="cpu") as classifier:
        record = classifier.classify(clip).to_dict(top_k=2)
    assert json.loads(json.dumps(record)) == record
    assert (record["path"], record["status"], len(record["labels"])) == (str(clip), "ok", 2)


def test_strategies_are_named_as_on_the_command_line(model: Path, clip: Path) -> None:
    with vidcomp.load(model, strategy="dense2x1", device="cpu") as classifier:
        assert classifier.classify(clip).passes.count == 2
        assert [section.kind for section in classifier.model.manifest.compressors] == ["identity"]
    with vidcomp.load(model, strategy="sfc-tau4", device="cpu") as classifier:
        assert classifier.model.manifest.compressors[0].options["tau"] == 4
    with pytest.raises(StrategyError, match="no SFC"):
        vidcomp.load(model, strategy="whole", tau=4)
    with pytest.raises(ManifestError, match="nothing is compressed"):
        vidcomp.load(model, compressor="none", tau=4)


def test_the_callers_network_stays_as_it_is(model: Path, clip: Path) -> None:
    loaded = load_model(model)
    network = loaded.network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    layout = [parameter.stride() for parameter in network.parameters()]
    with Classifier(loaded, device="cpu") as classifier:
        classifier.classify(clip)
        assert classifier.model.network is not network
        assert any(isinstance(module, torch.nn.Identity) for module in classifier.model.network.segments.modules())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name: tensor.data_ptr() for name, tensor in after.items()} == tensors
    assert [parameter.stride() for parameter in network.parameters()] == layout


def test_torchvision_is_imported_only_where_a_network_of_it_is_built(model: Path, clip: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom vidcomp.cli import app\n"
        f"run = CliRunner().invoke(app, ['classify', {str(clip)!r}, '--model', {str(model)!r}, '--device', 'cpu'])\n"
        "assert run.exit_code == 0, run.output\n"
        "assert 'torch' in sys.modules\nassert 'torchvision' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_views_that_are_larger_than_the_frame_are_an_error_of_the_manifest(model: Path) -> None:
    model.write_text(model.read_text().replace("short_side: 16, crop: 16", "short_side: 16"))
    with pytest.raises(
        ManifestError, match=r"tiny\.yaml: preprocessing\.short_side: 16 is less than crop, \d+"
    ) as caught:
        load_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", [None, "auto", "CPU", torch.device("cpu")])
def test_devices_by_their_names(model: Path, device: str | torch.device | None) -> None:
    with vidcomp.load(model, device=device) as classifier:
        assert classifier.runner.device.type in ("cpu", "cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["tpu", "", "meta", "cuda:99", "mps", 0])
def test_devices_that_are_not_there_are_named_with_those_that_are(model: Path, device: str) -> None:
    with pytest.raises(ValueError, match=rf"^device={device!r}: .*(use cpu or auto|choose auto, cpu, cuda)"):
        vidcomp.load(model, device=device)


@pytest.mark.parametrize("argument", ["batch", "decode_workers"])
def test_numbers_of_nothing_are_refused_by_the_arguments_name(model: Path, argument: str) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be at least 1, not 0"):
        vidcomp.load(model, device="cpu", **{argument: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [b"a.mp4", 5, None])
def test_what_is_no_path_is_told(model: Path, path: str) -> None:
    with vidcomp.load(model, device="cpu") as classifier:
        for call in (classifier.classify, lambda path: list(classifier.classify_all([path]))):
            with pytest.raises(TypeError, match=r"^path=.*: a video is named by a str or a pathlib.Path, not by"):
                call(path)
