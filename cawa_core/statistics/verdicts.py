"""Robust estimates over classes, and the rule by which they decide a claim.

A claim says that a quantity has a sign. It *holds* if the estimate reaches the smallest effect that counts, its 95%
interval lies on the claimed side of zero, and its test is significant. It *does not hold* if the interval rules out
that effect. Otherwise it is *open*: there are too few classes to tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata

from cawa_core.statistics.correlation import normalised
from cawa_core.statistics.intervals import percentile_interval

Array = NDArray[np.float64]

FEWEST_CLASSES = 6
"""Fewest classes that decide anything: of fewer, not even all with one sign are significant at 0.05."""

HOLDS = "holds"
IN_PART = "holds in part"
FAILS = "does not hold"
OPEN = "open"

SIGNIFICANT = 0.05
"""Level of the two-sided tests, and complement of the level of the intervals."""
SMALLEST_CORRELATION = 0.2
"""Smallest rank correlation that counts. Of two classes drawn at random, the one with the higher value of one quantity
then has the higher value of the other in 57% of the cases, instead of 50%."""
SMALLEST_GAIN = 0.01
"""Smallest difference that counts between probabilities, overlaps and other measures in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A robust estimate over classes.

    Attributes:
        value: the estimate; NaN if it is unknown.
        low, high: ends of its 95% interval; NaN if there is none.
        p_value: two-sided p-value of "no effect"; NaN if the interval is the test.
    """

    value: float
    low: float
    high: float
    p_value: float = float("nan")


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


def decide(estimate: Estimate, sign: int, smallest: float) -> str:
    """Return the verdict on the claim that a quantity has a sign.

    Args:
        estimate: estimate of the quantity.
        sign: claimed sign, +1 or -1.
        smallest: smallest effect that counts, positive.
    """
    if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        return OPEN
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    is_significant = np.isnan(estimate.p_value) or estimate.p_value <= SIGNIFICANT
    if low > 0 and is_significant and sign * estimate.value >= smallest:
        return HOLDS
    return FAILS if high < smallest else OPEN


def joint_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict of a claim whose parts must all hold."""
    if set(verdicts) == {HOLDS}:
        return HOLDS
    return IN_PART if HOLDS in verdicts or IN_PART in verdicts else OPEN if OPEN in verdicts else FAILS


def rank_correlation(x: Array, y: Array, resamples: Array, orders: NDArray[np.int64]) -> Estimate:
    """Return Spearman's ρ over classes with its bootstrap interval and its permutation test.

    There is no interval below :data:`FEWEST_CLASSES`, where resamples say little, and no estimate if a quantity is
    constant.

    Args:
        x, y: values ``[n]``.
        resamples: how often each bootstrap resample draws each class ``[resamples, n]``.
        orders: random permutations of the classes ``[n, permutations]``.
    """
    if not np.ptp(x) or not np.ptp(y):
        return UNKNOWN
    x_ranks, y_ranks = (normalised(rankdata(values)) for values in (x, y))
    value = float(x_ranks @ y_ranks)
    enough = len(x) >= FEWEST_CLASSES
    interval = percentile_interval(resampled_rank_correlations(x, y, resamples) if enough else np.array([]))
    null = x_ranks @ y_ranks[orders]
    reached = int((np.abs(null) >= abs(value) - 1e-12).sum())
    return Estimate(value, interval.low, interval.high, (1 + reached) / (1 + orders.shape[1]))


def resampled_rank_correlations(x: Array, y: Array, resamples: Array) -> Array:
    """Return Spearman's ρ of bootstrap resamples ``[resamples]``; NaN where all drawn values are equal.

    Args:
        x, y: values ``[n]``.
        resamples: how often each resample draws each pair ``[resamples, n]``.
    """
    middle = (resamples.sum(axis=1, keepdims=True) + 1) / 2
    x_ranks, y_ranks = (_ranks_of_resamples(values, resamples) - middle for values in (x, y))
    x_weighted = resamples * x_ranks
    norms = np.einsum("rn,rn->r", x_weighted, x_ranks) * np.einsum("rn,rn->r", resamples * y_ranks, y_ranks)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("rn,rn->r", x_weighted, y_ranks) / np.sqrt(norms))


def _ranks_of_resamples(values: Array, resamples: Array) -> Array:
    """Return the mean rank of each value in each resample, from counts of distinct values ``[resamples, n]``."""
    distinct, places = np.unique(values, return_inverse=True)
    order = np.argsort(places, kind="stable")
    counts = resamples[:, order]
    if len(distinct) < len(values):
        counts = np.add.reduceat(counts, np.searchsorted(places[order], np.arange(len(distinct))), axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return np.asarray(ranks[:, places])


def median_estimate(values: Array) -> Estimate:
    """Return the median over classes ``[n]`` with its exact 95% interval, which exists from six classes on.

    The interval reaches from one order statistic to another (of the sign test), so it assumes nothing about the
    distribution.
    """
    n = len(values)
    if not n:
        return UNKNOWN
    outside = int(np.searchsorted(binom.cdf(np.arange(n), n, 0.5), SIGNIFICANT / 2, side="right"))
    median = float(np.median(values))
    if not outside:
        return Estimate(median, float("nan"), float("nan"))
    ascending = np.sort(values)
    return Estimate(median, float(ascending[outside - 1]), float(ascending[n - outside]))
