"""Medians, their intervals, and ratios, against numbers worked out by hand."""

from __future__ import annotations

import itertools
import random

import pytest

from vidcomp.evaluation.statistics import (
    Ratio,
    Spread,
    counted_ratio,
    differs,
    interval_of_mean,
    interval_of_median,
    ratio_of_medians,
    spread,
)


def test_spread_of_even_and_odd_numbers_of_values() -> None:
    assert spread([3, 1, 2]) == Spread(2, 1, 3, 3)
    assert spread([4, 1, 2, 3]) == Spread(2.5, 1, 4, 4)
    assert spread([]) is None


@pytest.mark.parametrize(
    ("count", "outside"),
    # Values outside on either side: from tables of the sign test at 5 %, two-sided.
    [(1, 0), (2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (15, 3), (20, 5), (25, 7)],
)
def test_interval_of_the_median_is_that_of_the_sign_test(count: int, outside: int) -> None:
    values = list(range(count))
    random.Random(0).shuffle(values)
    assert interval_of_median(values) == (outside, count - 1 - outside)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        interval_of_median([])


def test_ratio_is_the_quotient_of_medians_within_the_pairs_range() -> None:
    ratio = ratio_of_medians([60, 66, 63], [10, 11, 9], [(60, 10), (66, 11), (63, 9)])
    assert ratio == Ratio(6.3, 6.0, 7.0)
    assert ratio.tells


def test_a_ratio_whose_interval_covers_one_does_not_tell() -> None:
    ratio = ratio_of_medians([10, 12, 11], [11, 11, 11], list(zip([10, 12, 11], [11, 11, 11], strict=True)))
    assert ratio is not None
    assert ratio.value == 1
    assert not ratio.tells


def test_a_single_measurement_tells_nothing() -> None:
    ratio = ratio_of_medians([60], [10], [(60, 10)])
    assert ratio == Ratio(6, None, None)
    assert not ratio.tells


def test_bounds_hold_the_ratio_whatever_was_measured() -> None:
    for seed, count in itertools.product(range(20), range(2, 12)):
        chance = random.Random(seed)
        dense, row = ([chance.lognormvariate(0, 2) for _ in range(count)] for _ in range(2))
        ratio = ratio_of_medians(dense, row, list(zip(dense, row, strict=True)))
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.low <= ratio.value <= ratio.high


def test_what_is_absent_or_nought_has_no_ratio() -> None:
    assert ratio_of_medians([], [1], []) is None
    assert ratio_of_medians([0.0], [1], []) is None
    assert counted_ratio(None, 2) is None
    assert counted_ratio(2, 0) is None
    exact = counted_ratio(3, 2)
    assert exact == Ratio(1.5, 1.5, 1.5)
    assert exact.tells


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    # Two-sided chances: 5:0 is 2/32 = 6.25 %, 6:0 is 2/64 = 3.1 %, 7:1 is 18/256 = 7 %, 8:1 is 20/512 = 3.9 %.
    [(0, 0, False), (5, 0, False), (6, 0, True), (0, 6, True), (7, 1, False), (8, 1, True), (10, 10, False)],
)
def test_mcnemars_exact_test(only_first: int, only_second: int, expected: bool) -> None:
    assert differs(only_first, only_second) is expected


def test_an_interval_of_a_mean_goes_by_groups() -> None:
    alone = interval_of_mean([1] * 50 + [0] * 50, [str(n) for n in range(100)])
    assert alone == pytest.approx((0.40, 0.60), abs=0.011)
    # All ten of a group being right or wrong together, there are ten draws, not a hundred.
    together = interval_of_mean([1] * 50 + [0] * 50, [str(n // 10) for n in range(100)])
    assert together == pytest.approx((0.2, 0.8), abs=0.01)
    assert interval_of_mean([1, 1, 1], ["a", "b", "b"]) == (1.0, 1.0)
    assert interval_of_mean([1, 0, 1], ["a", "a", "a"]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="an interval needs values"):
        interval_of_mean([], [])
