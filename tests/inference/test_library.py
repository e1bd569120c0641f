"""What a program that uses the library relies on: paths, names of strategies, answers that compare, nothing changed."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vidcomp
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.evaluation.evaluator import Evaluator
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import StrategyError
from vidcomp.inference.windows import Windows
from vidcomp.video import DecodeOptions, open_reader
from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), kind="sfc")


@pytest.fixture(scope="module")
def changed_model(model: Path) -> Callable[[str, str], Path]:
    """Another manifest of the same weights, in which one text stands for another."""

    def change(old: str, new: str) -> Path:
        changed = model.with_name("changed.yaml")
        changed.write_text(model.read_text().replace(old, new))
        return changed

    return change


@pytest.fixture(scope="module")
def loaded(model: Path) -> Iterator[Classifier]:
    with vidcomp.load(model, device="cpu") as classifier:
        yield classifier


def test_paths_are_taken_wherever_names_are(model: Path, clip: Path) -> None:
    with vidcomp.load(model, device="cpu") as classifier:
        one = classifier.classify(clip)
        assert one == classifier.classify(str(clip))
        assert list(classifier.classify_all([clip, str(clip)])) == [one, one]
    assert one.ok
    assert one.path == str(clip)
    with Evaluator(model, [clip], ["whole"], device="cpu") as evaluator:
        assert [video.path for video in evaluator.videos] == [str(clip)]


def test_equal_predictions_are_equal_and_others_are_not(loaded: Classifier, clip: Path) -> None:
    one, same = loaded.classify(clip), loaded.classify(clip)
    assert one.attention is not None
    assert one.timing != same.timing
    assert one == same
    assert len({one, same}) == 1
    changed = dataclasses.replace(one.attention, weights=one.attention.weights / 2)
    assert dataclasses.replace(one, attention=changed) != one
    assert dataclasses.replace(one, attention=None) != one
    assert one.attention != "a map"


def test_a_prediction_becomes_the_json_record(loaded: Classifier, clip: Path) -> None:
    prediction = loaded.classify(clip)
    with pytest.raises(ValueError, match="top_k must be at least 0, got -1"):
        prediction.to_dict(-1)
    record = prediction.to_dict(top_k=2)
    assert json.loads(json.dumps(record)) == record
    assert (record["path"], record["status"], len(record["labels"])) == (str(clip), "ok", 2)


def test_key_frames_alone_are_a_strategy(model: Path, tmp_path: Path) -> None:
    often = clips.make_clip(tmp_path / "often.mp4", 60, options={"g": "12", "sc_threshold": "0"})
    once = clips.make_clip(tmp_path / "once.mp4", 60, options={"g": "250", "sc_threshold": "0"})
    with vidcomp.load(model, strategy="keyframes", device="cpu") as classifier:
        prediction, sparse = classifier.classify_all([often, once])
        assert (prediction.strategy, prediction.frames.used, prediction.notes) == ("keyframes", 5, ())
        assert prediction.frames.end_s == pytest.approx(2.4)
        assert sparse.frames.used == 1
        assert any("a single key frame in 2.4 s" in note for note in sparse.notes)
    with pytest.raises(ValueError, match="key frames alone"):
        vidcomp.load(model, strategy="keyframes", moments=True, device="cpu")


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


def test_views_that_are_larger_than_the_frame_are_an_error_of_the_manifest(
    changed_model: Callable[[str, str], Path],
) -> None:
    model = changed_model("short_side: 16, crop: 16", "short_side: 16")
    with pytest.raises(
        ManifestError, match=r"changed\.yaml: preprocessing\.short_side: 16 is less than crop, \d+"
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
    with pytest.raises(ValueError, match=f"^{argument} must be a whole number of at least 1, not 0"):
        vidcomp.load(model, device="cpu", **{argument: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"batch": 1.5}, ValueError, "batch must be a whole number of at least 1, not 1.5"),
        ({"decode_workers": "2"}, ValueError, "decode_workers must be a whole number of at least 1, not '2'"),
        ({"decode_timeout_s": 0}, ValueError, "decode_timeout_s must be more than 0, not 0"),
        ({"decode_timeout_s": float("nan")}, ValueError, "decode_timeout_s must be more than 0, not nan"),
        ({"strategy": 8}, StrategyError, "8: a strategy is one name, such as dense30"),
        ({"strategy": ["whole"]}, StrategyError, "a strategy is one name"),
        ({"only": "jump"}, TypeError, "only='jump': give a list of labels"),
        ({"only": [3, 4]}, ManifestError, "there is no label '3'"),
        ({"name": None}, TypeError, "a model is named by a str or a pathlib.Path, not by NoneType"),
        ({"name": b"tiny"}, TypeError, "a model is named by a str or a pathlib.Path, not by bytes"),
    ],
)
def test_wrong_arguments_are_told_at_once(
    model: Path, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        vidcomp.load(**{"name": model, "device": "cpu", **arguments})


@pytest.mark.parametrize("path", [b"a.mp4", 5, None])
def test_what_is_no_path_is_told(loaded: Classifier, path: str) -> None:
    for call in (loaded.classify, lambda path: list(loaded.classify_all([path]))):
        with pytest.raises(TypeError, match=r"^a video is named by a str or a pathlib.Path, not by"):
            call(path)


@pytest.fixture(scope="module")
def unscaled(changed_model: Callable[[str, str], Path], clip: Path) -> Iterator[tuple[Classifier, np.ndarray]]:
    """A classifier that takes the clip's frames at their size, and those frames."""
    model = changed_model("short_side: 16", "short_side: 96")
    with open_reader(str(clip), DecodeOptions(chunk_frames=1000)) as reader:
        (frames,) = reader.chunks()
    with vidcomp.load(model, device="cpu") as classifier:
        yield classifier, frames.pixels


def test_a_call_takes_paths_bytes_and_frames(unscaled: tuple[Classifier, np.ndarray], clip: Path) -> None:
    classifier, frames = unscaled
    by_path = classifier.classify(clip)
    inputs = [clip, str(clip), clip.read_bytes(), memoryview(clip.read_bytes()), frames, torch.from_numpy(frames)]
    predictions = classifier(inputs)
    assert [prediction.path for prediction in predictions] == [str(clip)] * 2 + ["<bytes>"] * 2 + ["<frames>"] * 2
    for video, prediction in zip(inputs, predictions, strict=True):
        assert prediction.labels == by_path.labels
        assert prediction.attention == by_path.attention
        assert (prediction.frames.decoded, prediction.frames.used) == (60, 8)
        assert prediction.frames.duration_s == pytest.approx(2.4)
        assert classifier(video) == prediction
    assert classifier((clip, str(clip))) == [by_path, by_path]
    assert classifier([]) == []


def test_frames_in_memory_have_the_rate_that_is_said(unscaled: tuple[Classifier, np.ndarray]) -> None:
    classifier, frames = unscaled
    slow = classifier(frames, fps=5)
    assert slow.frames.duration_s == pytest.approx(12)
    assert slow.attention is not None
    assert slow.attention.seconds.tolist() == pytest.approx([8 * number / 5 for number in range(8)])
    assert slow.labels == classifier(frames).labels
    for rate in (np.float32(5), Fraction(5), "5"):
        assert json.dumps(classifier(frames, fps=rate).to_dict()["frames"]) == json.dumps(slow.to_dict()["frames"])


def test_other_calls_name_what_they_take(unscaled: tuple[Classifier, np.ndarray], clip: Path) -> None:
    classifier, frames = unscaled
    with pytest.raises(TypeError, match="features are of one video"):
        classifier.features([frames, frames])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"an array or a tensor \(T, H, W, 3\), not str"):
        classifier.transforms(str(clip))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not iterable"):
        classifier.classify_all(3)  # type: ignore[arg-type]
    for sent in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="load one in each process"):
            sent(classifier)


@pytest.mark.parametrize("strategy", ["dense2x1", "uniform2x16", "whole", "keyframes"])
def test_every_strategy_takes_frames(model: Path, clip: Path, strategy: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (40, 16, 20, 3), np.uint8)
    with vidcomp.load(model, device="cpu", strategy=strategy) as classifier:
        prediction = classifier(frames)
    assert prediction.ok
    assert prediction.strategy == strategy


@pytest.mark.parametrize(
    ("video", "error", "said"),
    [
        (np.zeros((4, 16, 16, 3), np.float32), TypeError, "frames are uint8, 0 to 255, not float32"),
        (torch.zeros(4, 3, 16, 16, dtype=torch.uint8), ValueError, r"permute its axes by \(0, 2, 3, 1\)"),
        (np.zeros((0, 16, 16, 3), np.uint8), ValueError, r"at least one of them, not \(0, 16, 16, 3\)"),
        (np.zeros((16, 16, 3), np.uint8), ValueError, r"frames are \(T, H, W, 3\)"),
        (torch.zeros(4, 16, 16, 3, requires_grad=True), TypeError, "frames are uint8, 0 to 255, not torch.float32"),
        (5, TypeError, "a video is a path, the bytes of a file, or frames .*; this is of type int"),
        (io.BytesIO(b""), TypeError, "this is of type BytesIO"),
        (iter([np.zeros((4, 16, 16, 3), np.uint8)]), TypeError, "several are a list of them"),
    ],
)
def test_what_is_no_video_is_told(loaded: Classifier, video: Any, error: type[Exception], said: str) -> None:
    for call in (loaded, loaded.features):
        with pytest.raises(error, match=said):
            call(video)
    for fps in (0, 1e-9):  # at the latter a frame is shown for 30 years
        with pytest.raises(ValueError, match=f"fps={fps} is not a frame rate"):
            loaded(np.zeros((4, 16, 16, 3), np.uint8), fps=fps)


def test_bytes_that_are_no_video_are_an_answer(loaded: Classifier) -> None:
    prediction = loaded(b"no video")
    assert prediction.error is not None
    assert prediction.error.kind == "not_video"
    assert prediction.error.message.startswith("<bytes>: ")
    with pytest.raises(ValueError, match=r"^<bytes>: "):
        loaded.features(b"no video")


def test_features_are_what_the_classifier_sees(unscaled: tuple[Classifier, np.ndarray], clip: Path) -> None:
    """Through the classifier's own weights they give its logits, and so its probabilities."""
    classifier, frames = unscaled
    features = classifier.features(clip)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, classifier.features(frames))
    weights = classifier.runner.network.state_dict()
    name = next(name for name in reversed(weights) if name.endswith("weight") and weights[name].shape[0] == 3)
    layer = weights[name].flatten(1), weights[name.replace("weight", "bias")]
    expected = torch.softmax(layer[0] @ torch.from_numpy(features) + layer[1], 0)
    for label in classifier(clip).labels:
        assert label.probability == pytest.approx(float(expected[label.index]), abs=1e-5)


def test_every_strategy_notes_features_while_that_is_asked_for(model: Path, clip: Path) -> None:
    for strategy, moments in ((None, 1), ("dense30", 30)):
        with vidcomp.load(model, device="cpu", strategy=strategy) as classifier:
            with classifier.noting_features():
                prediction = classifier(clip)
            assert prediction.features is not None
            assert prediction.features.shape == (moments, 1280)
            assert classifier(clip) == prediction
            assert classifier(clip).features is None
            np.testing.assert_array_equal(classifier.features(clip), prediction.embedding)
    with Classifier(load_model(model), device="cpu", strategy=Windows(1.0, 1.0)) as classifier:
        with classifier.noting_features():
            prediction = classifier(clip)
        assert [part.embedding is not None for part in prediction.windows] == [True] * 3
        np.testing.assert_allclose(
            classifier.features(clip), np.mean([part.embedding for part in prediction.windows], axis=0), rtol=1e-5
        )


def test_transforms_are_what_the_network_is_given(unscaled: tuple[Classifier, np.ndarray]) -> None:
    classifier, frames = unscaled
    clip = classifier.transforms(frames[:3])
    spec = classifier.model.spec
    expected = (frames[1, 5, 7] / 255 - np.array(spec.mean)) / np.array(spec.std)
    assert clip.shape == (3, 3, 96, 128)
    np.testing.assert_allclose(clip[:, 1, 5, 7], expected, rtol=1e-5)
    assert classifier.transforms(torch.zeros(2, 48, 48, 3, dtype=torch.uint8)).shape == (3, 2, 96, 96)


def test_models_are_listed_and_built(model: Path) -> None:
    names = vidcomp.list_models()
    assert vidcomp.DEFAULT_MODEL in names
    assert names == sorted(names)
    assert set(vidcomp.list_models(pretrained=True)) < set(names)
    assert vidcomp.list_models("no such*") == []
    clip = torch.zeros(2, 3, 8, 16, 16)
    trained = vidcomp.create_model(model)
    assert trained(clip).logits.shape == (2, 3)
    assert not trained.training
    other = vidcomp.create_model(model, num_classes=5)
    assert other(clip).logits.shape == (2, 5)
    kept = [name for name, value in other.state_dict().items() if torch.equal(value, trained.state_dict()[name])]
    assert len(kept) >= len(trained.state_dict()) - 2
    assert vidcomp.create_model(model, pretrained=False)(clip).logits.shape == (2, 3)
    for wrong in (0, 2.5, "3"):
        with pytest.raises(ValueError, match=f"num_classes must be a whole number of at least 1, not {wrong!r}"):
            vidcomp.create_model(model, num_classes=wrong)  # type: ignore[arg-type]


def test_predictions_become_a_table(loaded: Classifier, clip: Path) -> None:
    pandas = pytest.importorskip("pandas")
    predictions = loaded([clip, b"no video"])
    table = vidcomp.to_dataframe(predictions)
    assert isinstance(table, pandas.DataFrame)
    assert table["status"].tolist() == ["ok", "error"]
    assert table["label"][0] == predictions[0].top.label
    assert table["probability"][0] == predictions[0].top.probability
    assert table["frames_decoded"].tolist() == [60, 0]
    assert len(vidcomp.to_dataframe(predictions[0])) == 1
    assert list(vidcomp.to_dataframe([]).columns) == list(table.columns)


def test_importing_is_cheap_and_all_names_are_there() -> None:
    code = "import sys, vidcomp; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(hasattr(vidcomp, name) for name in vidcomp.__all__)
    assert not hasattr(vidcomp, "no_such_name")
    assert set(vidcomp.__all__) <= set(dir(vidcomp))
