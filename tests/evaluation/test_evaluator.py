"""The harness from the library: a labeled folder's accuracy, and what a strict evaluation does not take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import vidcomp
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.evaluation import compare, evaluate
from vidcomp.evaluation.evaluator import Evaluator
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.video.labeled import LabeledVideo, LabelError
from vidcomp.zoo import ManifestError, WeightsError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), kind="sfc", stride=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labeled")
    for number, name in enumerate(("jump/a.mp4", "jump/b.mp4", "swim/c.mp4", "swim/broken.mp4")):
        (root / name).parent.mkdir(exist_ok=True)
        clips.make_clip(root / name, 6, first=10 * number, size=(64, 48))
    (root / "swim" / "broken.mp4").write_text("no video")
    return root


def test_an_evaluation_counts_what_the_classifier_says(model: Path, folder: Path) -> None:
    evaluation = evaluate(model, folder, "whole", device="cpu")
    assert (evaluation.model, evaluation.strategy) == ("tiny", "whole")
    assert (evaluation.videos, evaluation.failed, evaluation.agreement) == (3, 1, None)
    with vidcomp.load(model, strategy="whole", device="cpu") as classifier:
        said = {name: classifier.classify(folder / name).labels for name in ("jump/a.mp4", "jump/b.mp4", "swim/c.mp4")}
    right = [labels[0].label == name.split("/")[0] for name, labels in said.items()]
    assert evaluation.top1 == pytest.approx(sum(right) / 3)
    assert evaluation.confusion.sum(axis=1).tolist() == [2, 0, 1]
    predicted = [sum(labels[0].index == index for labels in said.values()) for index in range(3)]
    assert evaluation.confusion.sum(axis=0).tolist() == predicted


def test_an_evaluation_is_a_comparison_of_one(model: Path, folder: Path) -> None:
    videos = [LabeledVideo(str(folder / "jump/a.mp4"), "jump"), LabeledVideo(str(folder / "swim/c.mp4"), "swim")]
    (row,) = compare(model, videos, ["sfc"], rounds=0, device="cpu").rows
    with Evaluator(model, videos, ["sfc"], rounds=0, device="cpu") as evaluator:
        evaluator.run()
        evaluation = evaluator.evaluation()
    assert (row.top1, row.top5, row.gmacs) == (evaluation.top1, evaluation.top5, evaluation.gmacs_mean)
    assert (row.model_ms, row.peak_memory_mb, row.fits_at_once) == (None, None, None)


def test_another_model_has_rows_beside_ours(model: Path, folder: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path, kind="sgs", stride=1)
    path = str(folder / "jump/a.mp4")
    with Evaluator(model, [path], ["dense3", f"whole@{other}", "whole"], rounds=0, device="cpu") as evaluator:
        evaluator.run()
        dense, theirs, ours = evaluator.comparison().rows
    assert [row.strategy for row in (dense, theirs, ours)] == ["dense3", f"whole@{other}", "whole"]
    with vidcomp.load(other, strategy="whole", device="cpu") as classifier:
        assert evaluator.runs[1].observations[path].labels[0].label == classifier.classify(path).top.label
    assert theirs.agreement == (evaluator.runs[1].observations[path].labels[0].label == dense_label(evaluator, path))
    # Every frame instead of every second one.
    assert theirs.gmacs is not None
    assert ours.gmacs is not None
    assert theirs.gmacs > ours.gmacs


def dense_label(evaluator: Evaluator, path: str) -> str:
    return evaluator.runs[0].observations[path].labels[0].label


def test_another_model_that_is_unknown_is_told(model: Path, folder: Path) -> None:
    told: list[str] = []
    videos = [str(folder / "jump/a.mp4")]
    with Evaluator(model, videos, ["whole", "whole@nobody"], rounds=0, device="cpu", tell=told.append) as evaluator:
        assert len(evaluator.runs) == 1
    assert "unknown model 'nobody'" in told[0]


@pytest.mark.parametrize("strategy", ["whole", "dense3"])
def test_agreement_is_with_the_dense_strategy_that_comes_after(strategy: str, model: Path, folder: Path) -> None:
    paths = [str(folder / name) for name in ("jump/a.mp4", "swim/c.mp4")]
    videos = [LabeledVideo(path, "jump") for path in paths]
    with Evaluator(model, videos, [strategy, "dense6"], rounds=0, device="cpu") as evaluator:
        evaluator.run()
        first, dense = evaluator.runs
        same = [first.observations[path].labels[0].index == dense.observations[path].labels[0].index for path in paths]
        assert evaluator.evaluation().agreement == sum(same) / 2


def test_notes_are_told_once_as_they_come(model: Path, folder: Path) -> None:
    told: list[str] = []
    steps: list[int] = []
    broken = str(folder / "swim/broken.mp4")
    with Evaluator(model, [broken], ["whole", "sfc", "sgs"], rounds=0, device="cpu", tell=told.append) as evaluator:
        assert len(told) == 1
        assert "'sgs' is not in this model" in told[0]
        evaluator.run(lambda name: steps.append(len(told)))
        assert evaluator.steps == len(steps)
    assert steps == [2, 2], "both rows fail on the file, which is said once"
    assert "broken.mp4" in told[1]
    assert evaluator.notes == told


def test_a_strict_evaluation_takes_nothing_else_instead(model: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="2 of 2 videos have no class"):
        evaluate(model, folder / "jump")
    with pytest.raises(ManifestError, match="'sgs' is not in this model"):
        evaluate(model, folder, "sgs", device="cpu")
    bare = make_tiny_model(tmp_path)
    bare.write_text(bare.read_text().replace(", weights: {file: tiny.safetensors}", ""))
    with pytest.raises(WeightsError, match="no weights"):
        evaluate(bare, folder, "whole", device="cpu")


@pytest.mark.parametrize(("rounds", "seconds", "timed"), [(1, 1.0, 1), (1, 25.0, 2), (5, 61.0, 2), (1, 1000.0, 3)])
def test_slow_rows_are_timed_on_fewer_videos(
    rounds: int, seconds: float, timed: int, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Videos of 5 s, each of which passes twice in a round; three rounds are wanted, or as many as are asked for."""
    videos = [str(folder / name) for name in ("jump/a.mp4", "jump/b.mp4", "swim/c.mp4")]
    label = StrategyRun.label

    def slow(run: StrategyRun, path: str) -> None:
        label(run, path)
        run.observations[path] = replace(run.observations[path], seconds=5.0)

    monkeypatch.setattr(StrategyRun, "label", slow)
    with Evaluator(model, videos, ["whole"], rounds=rounds, seconds=seconds, device="cpu") as evaluator:
        evaluator.run()
        assert sum(video.timed for video in evaluator.comparison().videos) == timed


def test_where_no_video_can_be_read_nothing_is_timed(model: Path, folder: Path) -> None:
    with Evaluator(model, [str(folder / "swim/broken.mp4")], ["whole"], rounds=1, device="cpu") as evaluator:
        evaluator.run()
        comparison = evaluator.comparison()
    assert "no video could be labeled by every row: nothing was timed" in comparison.notes
    assert (comparison.rows, comparison.failed) == ((), True)
    assert not any(video.timed for video in comparison.videos)
