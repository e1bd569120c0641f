"""The active bins of a folder, by hand."""

from __future__ import annotations

import pytest

from vidcomp.evaluation.accuracy import active_bins


def test_by_hand() -> None:
    bins = active_bins([("golf", 2), ("hockey", 9), ("golf", 4), ("hockey", 9), ("chess", 1)])
    assert bins.histogram == {1: 1, 2: 1, 4: 1, 9: 2}
    assert list(bins.per_class.items()) == [("chess", 1), ("golf", 3), ("hockey", 9)]
    assert bins.mean == 5
    answer = bins.as_dict()
    assert list(answer["lowest"]) == ["chess", "golf", "hockey"]
    assert list(answer["highest"]) == ["hockey", "golf", "chess"]


def test_at_most_five_classes_at_either_end() -> None:
    answer = active_bins((f"class {n}", n) for n in range(1, 13)).as_dict()
    assert list(answer["lowest"].values()) == [1, 2, 3, 4, 5]
    assert list(answer["highest"].values()) == [12, 11, 10, 9, 8]


def test_no_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="no videos"):
        active_bins([])
