"""Classes that stand out from the others: robust deviations, and how large they get by chance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator

Array = NDArray[np.float64]

FEWEST = 5
"""Fewest known values of which one can stand out."""
MAD_PER_DEVIATION = 0.6745
"""Median absolute deviation of a normal distribution with standard deviation 1."""
MEAN_AD_PER_DEVIATION = 0.7979
"""Mean absolute deviation of the same, sqrt(2 / pi)."""
SIMULATIONS = 20_000
LARGEST_SIMULATED = 4_000_000
"""Most values drawn for one critical value."""


def robust_deviations(values: Array) -> Array:
    """Return how many standard deviations each value lies from the median, by robust estimates.

    The standard deviation is estimated from the median absolute deviation, or, where more than half of the values are
    equal, from the mean absolute deviation (Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers", sec. 3).

    Args:
        values: one value per class ``[n]``; NaN if unknown.

    Returns:
        Deviations ``[n]``; NaN where the value is unknown, and everywhere if fewer than ``FEWEST`` are known. Zero if
        all known values are equal.
    """
    known = np.isfinite(values)
    if known.sum() < FEWEST:
        return np.full(len(values), np.nan)
    distances = values - np.median(values[known])
    scale = float(np.median(np.abs(distances[known]))) / MAD_PER_DEVIATION
    if scale == 0:
        scale = float(np.abs(distances[known]).mean()) / MEAN_AD_PER_DEVIATION
    deviations = distances / scale if scale > 0 else np.zeros(len(values))
    return np.where(known, deviations, np.nan)


@lru_cache(maxsize=16)
def largest_by_chance(n: int, level: float = 0.05) -> float:
    """Return the deviation, to one side, that the largest of ``n`` normal values exceeds with probability ``level``.

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
    scales = np.median(np.abs(distances), axis=1) / MAD_PER_DEVIATION
    return float(np.quantile(distances.max(axis=1) / scales, 1 - level))
