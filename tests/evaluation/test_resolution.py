"""The temporal resolution of a folder, by hand."""

from __future__ import annotations

import pytest

from vidcomp.evaluation.resolution import temporal_resolution


def test_by_hand() -> None:
    resolution = temporal_resolution([("golf", 2), ("hockey", 9), ("golf", 4), ("hockey", 9), ("chess", 1)])
    assert resolution.histogram == {1: 1, 2: 1, 4: 1, 9: 2}
    assert list(resolution.per_class.items()) == [("chess", 1), ("golf", 3), ("hockey", 9)]
    assert resolution.mean == 5
    answer = resolution.as_dict()
    assert list(answer["lowest"]) == ["chess", "golf", "hockey"]
    assert list(answer["highest"]) == ["hockey", "golf", "chess"]


def test_at_most_five_classes_at_either_end() -> None:
    answer = temporal_resolution((f"class {n}", n) for n in range(1, 13)).as_dict()
    assert list(answer["lowest"].values()) == [1, 2, 3, 4, 5]
    assert list(answer["highest"].values()) == [12, 11, 10, 9, 8]


def test_no_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="no videos"):
        temporal_resolution([])
