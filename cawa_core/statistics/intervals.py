"""Uncertainty of a statistic over classes."""

from __future__ import annotations

import dataclasses
from itertools import permutations as all_permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.correlation import pearson, spearman

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Interval:
    """Ends of a 95% interval; NaN where undefined."""

    low: float
    high: float


def bootstrap_pearson(x: Array, y: Array, resamples: int, random: np.random.Generator) -> Interval:
    """95% percentile interval of Pearson r over resampled pairs ``x [n]``, ``y [n]``."""
    rows = random.integers(len(x), size=(resamples, len(x)))
    values = np.array([pearson(x[row], y[row]) for row in rows], dtype=np.float64)
    return percentile_interval(values)


def percentile_interval(values: Array) -> Interval:
    """Middle 95% of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(float(low), float(high))


def bootstrap_mean(values: Array, resamples: int, random: np.random.Generator) -> Interval:
    """95% percentile interval of the mean of ``values [n]``."""
    return percentile_interval(random.choice(values, (resamples, len(values))).mean(axis=1))


def mantel_test(one: Array, other: Array, permutations: int, random: np.random.Generator) -> tuple[float, float]:
    """Spearman r between two symmetric matrices' upper triangles, and its one-sided permutation p-value.

    Rows and columns of one matrix are permuted together (Mantel 1967), so that pairs that share a class do
    not count as independent. All permutations are used where there are no more than asked for. NaN where
    either matrix does not vary.
    """
    n = len(one)
    upper = np.triu_indices(n, 1)

    def agreement(order: NDArray[np.int64]) -> float:
        return spearman(one[upper], other[np.ix_(order, order)][upper])

    observed = agreement(np.arange(n))
    if not np.isfinite(observed):
        return float("nan"), float("nan")
    if factorial(n) <= permutations:
        null = [agreement(np.array(order)) for order in all_permutations(range(n))]
        return observed, float(np.mean(np.array(null) >= observed - 1e-12))
    null = [agreement(random.permutation(n)) for _ in range(permutations)]
    return observed, float((1 + np.sum(np.array(null) >= observed)) / (1 + permutations))
