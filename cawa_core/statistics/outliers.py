"""Classes that lie far from the others, how far they get by chance, and classes that a correlation rests on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.correlation import normalised

Array = NDArray[np.float64]
Places = NDArray[np.int64]

NORMAL_MAD = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation."""
NORMAL_MEAN_AD = 1.2533
"""Ratio of the standard deviation of a normal distribution to its mean absolute deviation, sqrt(pi / 2)."""
FAR = 5.0
"""Robust score beyond which a value is an outlier; of normal values, fewer than one in a million."""
LARGEST_SHARE = 0.1
"""Largest share of the classes that may be left out as outliers."""
FEWEST = 5
"""Fewest known values of which one can stand out."""
SIMULATIONS = 20_000
LARGEST_SIMULATED = 4_000_000
"""Most values drawn for one critical value."""


def robust_scores(values: Array) -> Array:
    """Return how many robust standard deviations each value ``[n]`` lies above the median; NaN where unknown.

    The robust standard deviation is 1.4826 times the median absolute deviation, which up to half of the values cannot
    move far. If it is zero, because most values are equal, the others are infinitely far.
    """
    known = np.isfinite(values)
    scores = np.full(len(values), np.nan)
    if known.any():
        distances = values[known] - np.median(values[known])
        scale = NORMAL_MAD * np.median(np.abs(distances))
        infinite = np.copysign(np.inf, distances)
        scores[known] = distances / scale if scale > 0 else np.where(distances == 0, 0.0, infinite)
    return scores


def robust_deviations(values: Array) -> Array:
    """Return the robust scores of some values ``[n]``, finite even if more than half of them are equal.

    Then the mean absolute deviation takes the place of the median one (Iglewicz & Hoaglin 1993, "How to Detect and
    Handle Outliers", sec. 3).

    Returns:
        Scores ``[n]``; NaN where the value is unknown, and everywhere if fewer than ``FEWEST`` are known. Zero if all
        known values are equal.
    """
    known = np.isfinite(values)
    if known.sum() < FEWEST:
        return np.full(len(values), np.nan)
    scores = robust_scores(values)
    if not np.isinf(scores).any():
        return scores
    distances = values - np.median(values[known])
    return np.asarray(distances / (NORMAL_MEAN_AD * np.abs(distances[known]).mean()))


@lru_cache(maxsize=16)
def largest_by_chance(n: int, level: float = 0.05) -> float:
    """Return the score, to one side, that the largest of ``n`` normal values exceeds with probability ``level``.

    By simulation with a fixed seed, since the median absolute deviation of few values varies much: at the level 0.05,
    3.9 for 10 values, 3.5 for 100 and 4.0 for 1,000; at 0.05 / 8, 6.5, 4.2 and 4.4.

    Args:
        n: number of values; at least ``FEWEST``.
        level: probability that any class stands out although all follow one normal distribution.
    """
    random = random_generator(0, SHARED_CLASS, n, "largest deviation")
    simulations = max(200, min(SIMULATIONS, LARGEST_SIMULATED // n))
    values = random.standard_normal((simulations, n))
    distances = values - np.median(values, axis=1, keepdims=True)
    scales = NORMAL_MAD * np.median(np.abs(distances), axis=1)
    return float(np.quantile(distances.max(axis=1) / scales, 1 - level))


def left_out(*columns: Array) -> Places:
    """Return the classes that are outliers in any of some columns ``[n]``, and so do not decide a claim.

    There are none if more than a tenth of the classes are far from the rest: then the tail is heavy, and ranks and
    medians deal with it. A column whose values are mostly equal has no outliers.
    """
    far = np.zeros(len(columns[0]), dtype=np.bool_)
    for values in columns:
        scores = robust_scores(values)
        far |= np.isfinite(scores) & (np.abs(scores) > FAR)
    return np.flatnonzero(far) if far.sum() <= len(far) * LARGEST_SHARE else np.array([], dtype=np.int64)


def few(n_classes: int) -> int:
    """Return how many classes are a few of ``n_classes``: a tenth of them, but three at most, or 1% if that is more."""
    return min(n_classes // 10, max(3, n_classes // 100))


def supporters(x: Array, y: Array, sign: int, k: int, by_ranks: bool) -> Places:
    """Return the k classes whose omission moves a correlation most against a sign, the most influential first.

    They are chosen one after the other; each is the one with the largest product of standardised values, or of
    standardised ranks, among those that are left.

    Args:
        x, y: values ``[n]``.
        sign: +1 to lower the correlation, -1 to raise it.
        k: number of classes, below n - 2.
        by_ranks: whether it is the rank correlation.
    """
    left = np.arange(len(x))
    chosen = []
    for _ in range(k):
        columns = [x[left], y[left]]
        if by_ranks:
            columns = [rankdata(values) for values in columns]
        products = sign * normalised(columns[0]) * normalised(columns[1])
        chosen.append(int(left[np.argmax(products)]))
        left = np.delete(left, np.argmax(products))
    return np.array(chosen, dtype=np.int64)
