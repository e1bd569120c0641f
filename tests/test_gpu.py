"""A GPU answers as the CPU does, with every model that ships, in every way that a video may pass it, and learns too."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import vidcomp
from tests import clips
from tests.training.conftest import folder, tiny  # noqa: F401 - fixtures
from vidcomp.cli import app
from vidcomp.inference.prediction import Prediction

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
WAYS = [
    ("ucf16-lite0", "whole"),
    ("ucf16-lite0", "sfc"),
    ("ucf16-lite0", "sgs"),
    ("ucf16-lite0", "sgs+sfc"),
    ("ucf16-lite0", "dense30"),
    ("ucf16-lite0", "uniform4x16"),
    ("ucf16-lite0", "keyframes"),
    ("ucf16-lite0", "bitstream"),
    ("kinetics400-i3d", "whole"),
    ("kinetics400-i3d", "sfc"),
    ("kinetics400-i3d", "sgs"),
    ("kinetics400-i3d", "dense2x1"),
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 70, options={"g": "12"})


def best(prediction: Prediction) -> dict[str, float]:
    """The five best labels and their probabilities."""
    return {label.label: label.probability for label in prediction.labels[:5]}


def check(found: Prediction, expected: dict[str, float], within: float) -> None:
    told = {label.label: label.probability for label in found.labels}
    assert {name: told.get(name, 0.0) for name in expected} == pytest.approx(expected, abs=within)


@pytest.mark.parametrize(("model", "strategy"), WAYS)
def test_models_that_ship_answer_as_on_the_cpu(video: Path, model: str, strategy: str) -> None:
    with vidcomp.load(model, strategy=strategy, device="cpu") as on_cpu:
        expected = on_cpu.classify(video)
    with vidcomp.load(model, strategy=strategy, device="cuda", precision="fp32") as exact:
        found = exact.classify(video)
    check(found, best(expected), 0.02)
    assert found.frames == expected.frames
    if "sgs" not in strategy:  # in 16 bits, other frames may be alike
        with vidcomp.load(model, strategy=strategy) as fast:
            assert fast.runner.device.type == "cuda"
            check(fast.classify(video), best(expected), 0.15)


def test_features_are_those_of_the_cpu(video: Path) -> None:
    features = []
    for device in ("cpu", "cuda"):
        with vidcomp.load("ucf16-lite0", device=device, precision="fp32") as classifier:
            features.append(classifier.features(video))
    np.testing.assert_allclose(features[1], features[0], atol=0.05 * np.abs(features[0]).max())


def test_many_videos_together_and_in_threads_answer_as_one_does(tmp_path: Path) -> None:
    paths = [
        str(clips.make_clip(tmp_path / f"{number}.mp4", 30 + 10 * (number % 3), first=number)) for number in range(9)
    ]
    with vidcomp.load("ucf16-lite0", strategy="sfc", device="cuda", precision="fp32") as classifier:
        alone = {path: best(classifier.classify(path)) for path in paths}
        together = {one.path: one for one in classifier.classify_all(paths) if isinstance(one, Prediction)}
        threaded: dict[str, Prediction] = {}

        def label(path: str) -> None:
            threaded[path] = classifier.classify(path)

        threads = [threading.Thread(target=label, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for found in (together, threaded):
        assert found.keys() == alone.keys()
        for path, expected in alone.items():
            check(found[path], expected, 0.01)


def test_a_compiled_network_answers_as_before(video: Path) -> None:
    with vidcomp.load("ucf16-lite0", strategy="sfc", device="cuda", precision="fp32") as classifier:
        expected = best(classifier.classify(video))
        assert classifier.runner.compile().problem is None
        check(classifier.classify(video), expected, 0.02)


def run(*arguments: object) -> str:
    told = CliRunner().invoke(app, list(map(str, arguments)))
    assert told.exit_code == 0, told.output
    return told.stdout


def test_the_commands_run_on_it(video: Path, tmp_path: Path) -> None:
    table = run("compare", video, "--model", "ucf16-lite0", "--whole", "--sfc", "--sgs", "--bitstream", "--rounds", 1)
    assert torch.cuda.get_device_name() in table
    labeled = run("classify", video, "--model", "ucf16-lite0", "--format", "json")
    assert json.loads(labeled)[0]["labels"]
    run("embed", video, "--model", "ucf16-lite0", "--output", tmp_path / "features.npz")


@pytest.mark.parametrize("kind", ["compressor", "backbone", "head"])
def test_training_on_it(folder: Path, tiny: Path, tmp_path: Path, kind: str) -> None:  # noqa: F811
    output = tmp_path / "mine.yaml"
    options = () if kind == "head" else ("--epochs", 2, "--batch", 3, "--precision", "auto")
    run("train", kind, folder, "--model", tiny, "--output", output, "--cache", tmp_path / "cache", *options)
    told = run("classify", folder, "--model", output, "--format", "json")
    assert len(json.loads(told)) == 6


def test_a_model_of_the_bitstream_learns_on_it(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    output = tmp_path / "mine.yaml"
    options = ("--epochs", 1, "--batch", 3, "--precision", "bf16", "--cache", tmp_path / "cache")
    run("train", "bitstream", folder, "--model", "ucf16-bitstream", "--output", output, *options)
    told = run("classify", folder, "--model", output, "--format", "json")
    assert len(json.loads(told)) == 6
