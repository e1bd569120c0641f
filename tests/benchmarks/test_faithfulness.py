"""What the check of faithfulness masks and joins, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.faithfulness import fill_mean, fill_nearest, interleaved, masks, mean_with_interval, splice
from vidcomp.video.labeled import LabeledVideo


def numbered(*values: float) -> torch.Tensor:
    """Features (1, 1, T, 1, 1) that are their frames' numbers."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1, 1)


def test_masked_frames_are_replaced_by_the_nearest_or_the_mean_of_the_others() -> None:
    mask = np.array([True, False, True, True, True, False])
    assert fill_nearest(numbered(0, 1, 2, 3, 4, 5), mask).flatten().tolist() == [1, 1, 1, 1, 5, 5]
    assert fill_mean(numbered(0, 1, 2, 3, 4, 5), mask).flatten().tolist() == [3, 1, 3, 3, 3, 5]


def test_masks_cover_thirty_percent_and_the_shifted_one_has_the_same_runs() -> None:
    importance = np.array([0, 0, 5, 6, 0, 0, 0, 4, 0, 1.0])
    found = list(masks(importance, seeds=4))
    assert {int(mask.sum()) for _, mask in found} == {3}
    assert np.flatnonzero(found[0][1]).tolist() == [2, 3, 7]
    assert not (found[0][1] & found[1][1]).any()
    shifted = [mask for name, mask in found if name == "shifted"]
    assert len(shifted) == 4
    for mask in shifted:
        assert (mask != found[0][1]).any()
        assert any((np.roll(found[0][1], by) == mask).all() for by in range(1, 10))


@pytest.mark.parametrize(
    ("where", "expected"),
    [("before", [7, 8, 9, 1, 2, 3]), ("middle", [1, 7, 8, 9, 2, 3]), ("after", [1, 2, 3, 7, 8, 9])],
)
def test_halves_are_equal_and_their_frames_are_told(where: str, expected: list[float]) -> None:
    joined, is_true = splice(numbered(1, 2, 3, 4, 5), numbered(7, 8, 9), where)
    assert joined.flatten().tolist() == expected
    assert is_true.tolist() == [value < 5 for value in expected]


def test_the_interval_holds_the_mean_and_narrows_with_the_videos() -> None:
    few, many = mean_with_interval([0, 1] * 5), mean_with_interval([0, 1] * 500)
    assert few["mean"] == many["mean"] == 0.5
    assert few["low"] < many["low"] < 0.5 < many["high"] < few["high"]
    # The standard error of a fair coin's mean over 1,000 tosses is 0.0158; 95 % reach 1.96 of it.
    assert many["high"] - 0.5 == pytest.approx(1.96 * 0.0158, rel=0.1)


def test_classes_come_in_turns() -> None:
    videos = [LabeledVideo(f"{label}{number}", label) for label in "ab" for number in range(2)]
    assert [video.path for video in interleaved(videos)] == ["a0", "b0", "a1", "b1"]
