"""Rows, ratios, accuracy and agreement from what runs measured, against numbers worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vidcomp.evaluation.comparison import RATIO_COLUMNS, results_of, round_means, rows_of
from vidcomp.evaluation.evaluator import spread_over
from vidcomp.evaluation.strategy_run import Observation, default_strategies
from vidcomp.inference.prediction import ForwardStats, Label
from vidcomp.video.labeled import LabeledVideo
from vidcomp.zoo.manifest import find_manifest

VIDEOS = [LabeledVideo("a", "x"), LabeledVideo("b", "y"), LabeledVideo("c")]
ONE_PASS = ForwardStats(1, 8, 32, 32)
ORDERS = {"x": "xyzuvw", "y": "yxzuvw", "w": "wxyzuv"}


def run(
    name: str,
    said: dict[str, str],
    passes: ForwardStats = ONE_PASS,
    gmacs: tuple[float, ...] = (1.0, 2.0, 3.0),
    peaks: tuple[int | None, ...] = (40_000_000, 50_000_000, None),
    **changes: Any,
) -> Any:
    """What a run holds after measuring: `said` is the best label of each video."""
    observations = {
        path: Observation(
            labels=tuple(Label(letter, "xyzuvw".index(letter), 0.5) for letter in ORDERS[best][:5]),
            passes=passes,
            gmacs=cost,
            peak_bytes=peak,
        )
        for (path, best), cost, peak in zip(said.items(), gmacs, peaks, strict=True)
    }
    values: dict[str, Any] = {
        "name": name,
        "is_dense": name.startswith("dense"),
        "kinds": ("identity",) if name == "dense30" else (name,),
        "tau": None if name == "dense30" else 2.0,
        "trained": True,
        "params": 1000,
        "fits_at_once": 40,
        "observations": observations,
        "errors": {},
        "model_s": {0: [0.01, 0.03], 1: [0.02, 0.04]},
        "end_to_end_s": {0: [0.1, 0.1], 1: [0.1, 0.1]},
        "energy_j": {},
    }
    return SimpleNamespace(**{**values, **changes})


def pair() -> list[Any]:
    dense = run(
        "dense30",
        {"a": "x", "b": "y", "c": "x"},
        ForwardStats(30, 8, 32, 32),
        gmacs=(12.0, 12.0, 12.0),
        peaks=(25_000_000, None, None),
        params=900,
        fits_at_once=10,
        model_s={0: [0.06, 0.18], 1: [0.10, 0.26]},
    )
    return [dense, run("sfc", {"a": "x", "b": "w", "c": "y"})]


def test_numbers_of_a_row() -> None:
    dense, row = rows_of(pair(), VIDEOS, 2)
    assert (dense.views, dense.frames_per_view) == (30, 8)
    assert row.model_ms is not None
    assert (row.model_ms.median, row.model_ms.least, row.model_ms.greatest) == pytest.approx((25, 20, 30))
    assert row.videos_per_s == pytest.approx(40)
    assert row.end_to_end_videos_per_s == pytest.approx(10)
    assert row.gmacs == 2
    assert row.peak_memory_mb == 50
    assert row.energy_j is None
    assert (dense.compressor, dense.tau) == ("none", None)
    assert (row.compressor, row.tau) == ("sfc", 2.0)


def test_ratios_say_how_many_times_better_a_row_is() -> None:
    dense, row = rows_of(pair(), VIDEOS, 2)
    values = {name: ratio.value for name, ratio in row.ratios.items()}
    # Rounds of dense: 120 and 180 ms; of the row: 20 and 30 ms.
    assert values == pytest.approx(
        {
            "gmacs": 6,
            "params": 0.9,
            "model_ms": 6,
            "videos_per_s": 6,
            "end_to_end_videos_per_s": 1,
            "peak_memory_mb": 0.5,
            "fits_at_once": 4,
            "top1": 0.5,
            "top5": 1,
            "agreement": 1 / 3,
        }
    )
    assert set(row.noisy) == {"end_to_end_videos_per_s", "top1", "top5"}
    assert all(ratio.value == 1 for ratio in dense.ratios.values())
    assert dense.noisy == ()


def test_accuracy_counts_known_classes_and_agreement_all_videos() -> None:
    dense, row = rows_of(pair(), VIDEOS, 2)
    assert (dense.top1, dense.top5, dense.agreement) == (1, 1, 1)
    assert row.top1 == 0.5
    # "y" is the third of the labels said of b, and so among the best five; "w" would not be.
    assert row.top5 == 1
    assert row.agreement == pytest.approx(1 / 3)


def test_a_video_that_one_row_could_not_label_counts_for_none() -> None:
    dense, row = pair()
    del row.observations["b"]
    row.errors["b"] = "b: broken"
    better = rows_of([dense, row], VIDEOS, 2)
    assert [one.top1 for one in better] == [1, 1]
    assert [one.agreement for one in better] == [1, 0.5]
    answers = results_of([dense, row], VIDEOS, ["a"])[1].answers
    assert answers["sfc"].error == "b: broken"
    assert answers["dense30"].label == "y"


def test_random_weights_have_neither_accuracy_nor_labels() -> None:
    dense, row = pair()
    row.trained = False
    random_row = rows_of([dense, row], VIDEOS, 2)[1]
    assert (random_row.top1, random_row.top5, random_row.agreement) == (None, None, None)
    assert random_row.as_dict()["ratio"]["top1"] is None
    assert results_of([dense, row], VIDEOS, [])[0].answers["sfc"].label is None


def test_without_a_dense_row_there_are_no_ratios() -> None:
    (row,) = rows_of(pair()[1:], VIDEOS, 2)
    assert row.ratios == {}
    assert row.agreement is None
    assert row.as_dict()["ratio"] == dict.fromkeys(RATIO_COLUMNS)


def test_a_round_that_was_broken_off_does_not_count() -> None:
    assert round_means({0: [1.0, 3.0], 1: [5.0]}, 2) == {0: 2.0}
    assert round_means({0: []}, 0) == {}


def test_videos_differ_where_rows_or_classes_do() -> None:
    results = results_of(pair(), VIDEOS, [])
    assert [video.disagreement for video in results] == [False, True, True]


def test_the_rows_of_a_model_by_default() -> None:
    assert default_strategies(find_manifest("ucf16-lite0")) == ["dense30", "sfc"]


def test_timed_videos_are_spread_over_all() -> None:
    names = [str(number) for number in range(100)]
    assert spread_over(names[:3], 8) == ["0", "1", "2"]
    chosen = spread_over(names, 8)
    assert (len(set(chosen)), chosen[0], chosen[-1]) == (8, "0", "99")
    assert spread_over(names, 2) == ["0", "99"]
    assert spread_over(names, 1) == ["50"]
