"""NaN, infinity and a lack of memory are the error of the video they happen to, and of no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.evaluation.accuracy import evaluation_of
from vidcomp.evaluation.evaluator import Evaluator
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.strategies import DenseViews, Strategy
from vidcomp.inference.windows import Windows
from vidcomp.nn.compressors import Features
from vidcomp.video.labeled import LabeledVideo
from vidcomp.zoo.build import LoadedModel, load_model


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("videos")
    return [str(clips.make_clip(folder / f"{n}.mp4", 8, first=10 * n, size=(64, 48))) for n in range(3)]


def tiny(folder: Path, kind: str = "sfc") -> LoadedModel:
    return load_model(str(make_tiny_model(folder, kind=kind, stride=2)))


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [(None, "identity"), (None, "sfc"), (None, "sgs"), (DenseViews(1, 1), "sfc"), (Windows(1, 1), "sfc")],
)
def test_a_network_that_makes_no_numbers_gives_an_error_that_names_the_file(
    kind: str, strategy: Strategy | None, tmp_path: Path, paths: list[str]
) -> None:
    with Classifier(tiny(tmp_path, kind), device="cpu", strategy=strategy, decode_workers=1) as classifier:
        network = classifier.runner.network
        for part, number in ((network.segments[-1], math.inf), (network.head, math.nan)):
            with torch.no_grad():
                list(part.parameters())[-1].fill_(number)
            error = classifier.classify(paths[0]).error
            assert error is not None
            assert error.kind == "bad_features"
            assert error.message.startswith(f"{paths[0]}: ")
            assert ("frame 0" in error.message) == (part is network.head)


def spoil(monkeypatch: pytest.MonkeyPatch, classifier: Classifier, turn: int, how: Callable[[Features], None]) -> None:
    """Do something to the features of the video that is the ``turn``-th to be encoded."""
    encode, turns = classifier.runner.encode, iter(range(1000))

    def spoiled(chunks: Iterable[NDArray[np.uint8]]) -> Features:
        features = encode(chunks)
        if next(turns) == turn:
            with torch.inference_mode():
                how(features)
        return features

    monkeypatch.setattr(classifier.runner, "encode", spoiled)


def lack_memory(features: Features) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def fill(number: float) -> Callable[[Features], None]:
    def filled(features: Features) -> None:
        assert isinstance(features, torch.Tensor)
        features[:, :, 1] = number

    return filled


@pytest.mark.parametrize("kind", ["sfc", "sgs"])
def test_of_videos_that_go_together_only_the_one_at_fault_fails(
    kind: str, tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = ((fill(math.nan), "bad_features"), (fill(-math.inf), "bad_features"), (lack_memory, "out_of_memory"))
    with Classifier(tiny(tmp_path, kind), device="cpu", decode_workers=1, batch=3) as classifier:
        alone = [classifier.classify(path) for path in paths]
        for how, told in faults:
            with monkeypatch.context() as patch:
                spoil(patch, classifier, 1, how)
                together = list(classifier.classify_all(paths))
            assert [prediction.error and prediction.error.kind for prediction in together] == [None, told, None]
            assert together[1].error is not None
            assert together[1].error.message.startswith(paths[1])
            for number in (0, 2):
                for one, other in zip(alone[number].labels, together[number].labels, strict=True):
                    assert (one.index, one.probability) == (other.index, pytest.approx(other.probability, abs=1e-6))


def test_a_video_that_the_network_makes_nan_of_is_left_out_of_the_accuracy(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Classifier(tiny(tmp_path), device="cpu", decode_workers=1, batch=3) as classifier:
        spoil(monkeypatch, classifier, 1, fill(math.nan))
        run = StrategyRun("sfc", classifier)
        assert list(run.label_all(paths)) == paths
    evaluation = evaluation_of(run, [LabeledVideo(path, classifier.model.labels[0]) for path in paths])
    assert (evaluation.videos, evaluation.failed) == (2, 1)
    assert list(run.errors) == [paths[1]]


@pytest.mark.parametrize(("turn", "how"), [(1, lack_memory), (4, lack_memory), (4, fill(math.nan))])
def test_a_comparison_goes_on_without_the_row_that_failed(
    turn: int, how: Callable[[Features], None], tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a row labels its second video, and while it is timed."""
    manifest = str(make_tiny_model(tmp_path, kind="sfc", stride=2))
    with Evaluator(manifest, paths, ["dense1x1", "sfc"], rounds=2, device="cpu") as evaluator:
        sfc = evaluator.runs[1]
        sfc.warm_up()
        spoil(monkeypatch, sfc.classifier, turn, how)
        evaluator.run()
        result = evaluator.comparison()
    assert result.failed
    assert any(note.startswith(f"sfc: {Path(paths[0]).parent}") for note in result.notes)
    assert [row.strategy for row in result.rows] == ["dense1x1", "sfc"]
    assert all(row.model_ms is not None for row in result.rows)


def test_a_network_that_only_makes_nan_can_be_compared_to_the_end(tmp_path: Path, paths: list[str]) -> None:
    manifest = str(make_tiny_model(tmp_path, kind="sfc", stride=2))
    with Evaluator(manifest, paths[:1], ["sfc"], rounds=1, device="cpu") as evaluator:
        with torch.no_grad():
            list(evaluator.runs[0].classifier.runner.network.segments[-1].parameters())[-1].fill_(math.nan)
        evaluator.run()
        result = evaluator.comparison()
    assert result.failed
    assert any("NaN" in note for note in result.notes)
