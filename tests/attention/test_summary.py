"""Attention summaries of maps worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidcomp.attention.summary import summarise
from vidcomp.inference.prediction import AttentionMap


def attention(rows: list[list[float]]) -> AttentionMap:
    weights = np.array(rows, np.float32)
    return AttentionMap("sfc", weights, np.arange(weights.shape[1], dtype=np.float64))


def test_by_hand() -> None:
    """Columns weigh 1, 0.5, 0.5 and 0 of 2: shares ½, ¼, ¼, 0; entropy 1.5 bits, so 2^1.5 frames."""
    summary = summarise(attention([[1, 0, 0, 0], [0, 0.5, 0.5, 0]]))
    assert summary.importance == pytest.approx((2, 1, 1, 0))
    assert summary.effective_frames == pytest.approx(2**1.5)
    assert summary.as_dict()["frames"] == [0, 1, 2, 3]


def test_even_attention_uses_every_frame_and_the_mean_importance_is_one() -> None:
    summary = summarise(attention([[0.2] * 5] * 2))
    assert summary.effective_frames == pytest.approx(5)
    assert np.mean(summary.importance) == pytest.approx(1)


@pytest.mark.parametrize("row", [[0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, not negative"):
        summarise(attention([row]))


def test_a_map_needs_a_time_for_each_frame() -> None:
    with pytest.raises(ValueError, match="needs T timestamps"):
        AttentionMap("sfc", np.ones((2, 3), np.float32), np.zeros(2))


def test_a_compressor_that_groups_frames_names_them() -> None:
    weights = np.array([[0.5, 0, 1e-6], [0, 1, 0]], np.float32)
    seconds = np.arange(3, dtype=np.float64)
    answer = summarise(AttentionMap("sgs", weights, seconds)).as_dict()
    assert (answer["active_bins"], answer["bins"]) == (2, [[0, 2], [1]])
    answer = summarise(AttentionMap("sfc", weights, seconds)).as_dict()
    assert (answer["active_bins"], answer["bins"]) == (None, None)
