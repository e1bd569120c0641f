"""Medians and ratios that say how sure they are, without assuming how the noise is distributed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_DOUBT = 0.05
_DRAWS = 2000


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float
    samples: int


@dataclass(frozen=True)
class Ratio:
    """How many times better a row is than the dense one: above 1 is better.

    ``low`` and ``high`` bound it; both are ``None`` where there was a single measurement, and equal to ``value`` where
    the quantity is counted and not measured.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def tells(self) -> bool:
        """Whether the measurements are enough to say which of the two is better."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= 1.0 <= self.high


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range of measurements; ``None`` where there are none."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), len(values))


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """The interval between two of the values that holds the true median with 95% certainty.

    The classical one from order statistics (the sign test turned round), which holds for any distribution. Fewer than
    six values cannot give 95%; the whole range is returned, which n values give with certainty 1 − 2^(1−n).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    ordered = sorted(values)
    count = len(ordered)
    outside = 0
    tail = 0.0
    for k in range(count // 2):
        tail += math.comb(count, k) / 2**count
        if 2 * tail > _DOUBT:
            break
        outside = k
    return ordered[outside], ordered[count - 1 - outside]


def interval_of_mean(values: ArrayLike, groups: Sequence[str]) -> tuple[float, float]:
    """The interval that holds the mean with 95% certainty where whole groups were drawn by chance, not single values.

    The bootstrap over groups, by percentiles of 2,000 draws, always the same ones. A single group gives from the least
    to the greatest that a mean may be here.

    Raises:
        ValueError: there are no values, or not as many as groups.
    """
    numbers = np.asarray(values, dtype=float)
    if not len(numbers) or len(numbers) != len(groups):
        raise ValueError(f"an interval needs values, each with its group, not {len(numbers)} of {len(groups)} groups")
    names, of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) == 1:
        return float(numbers.min()), float(numbers.max())
    sums, counts = np.bincount(of, numbers), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(names), (_DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [_DOUBT / 2, 1 - _DOUBT / 2])
    return float(low), float(high)


def ratio_of_medians(
    dense: Sequence[float], row: Sequence[float], pairs: Sequence[tuple[float, float]]
) -> Ratio | None:
    """Median of ``dense`` divided by the median of ``row``, bounded by what the ``pairs`` of each round say.

    Both numbers of a pair (dense, row) were measured within the same round, so that a machine that slows down slows
    both. The bounds are widened to hold the ratio itself. ``None`` where one of the two was not measured, or a median
    is 0.
    """
    if not dense or not row:
        return None
    above, below = statistics.median(dense), statistics.median(row)
    if above <= 0 or below <= 0:
        return None
    value = above / below
    quotients = [first / second for first, second in pairs if second > 0]
    if len(quotients) < 2:
        return Ratio(value, None, None)
    low, high = interval_of_median(quotients)
    return Ratio(value, min(low, value), max(high, value))


def counted_ratio(dense: float | None, row: float | None) -> Ratio | None:
    """Ratio of two quantities that are counted, not measured: exact."""
    if dense is None or row is None or dense <= 0 or row <= 0:
        return None
    return Ratio(dense / row, dense / row, dense / row)


def differs(only_first: int, only_second: int) -> bool:
    """Whether two rows' numbers of right answers on the same videos differ by more than chance.

    McNemar's exact test, two-sided, at 5%: of the videos that just one of the two got right, were too many the same
    one's? ``only_first`` and ``only_second`` count these.
    """
    count = only_first + only_second
    fewer = min(only_first, only_second)
    chance: float = 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count
    return chance <= _DOUBT
