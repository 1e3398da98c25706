"""Bootstrap intervals of a statistic over classes."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.correlation import pearson

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Interval:
    """Ends of a 95% interval; NaN if undefined."""

    low: float
    high: float


def bootstrap_pearson(x: Array, y: Array, resamples: int, random: np.random.Generator) -> Interval:
    """Return the 95% percentile interval of Pearson r over resampled pairs ``x [n]``, ``y [n]``."""
    rows = random.integers(len(x), size=(resamples, len(x)))
    return percentile_interval(pearson(x[rows], y[rows]))


def percentile_interval(values: Array) -> Interval:
    """Return the interval that holds the middle 95% of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(float(low), float(high))


def bootstrap_weights(n: int, resamples: int, random: np.random.Generator) -> Array:
    """Return how often each resample draws each of n values, divided by n: ``[resamples, n]``.

    The product with the values gives the resampled means.
    """
    return bootstrap_counts(n, resamples, random) / n


def bootstrap_counts(n: int, resamples: int, random: np.random.Generator) -> Array:
    """Return how often each resample draws each of n values: ``[resamples, n]``."""
    draws = random.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(draws.reshape(-1), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def bootstrap_mean(values: Array, weights: Array) -> Interval:
    """Return the 95% percentile interval of the mean of ``values [n]``, given :func:`bootstrap_weights`."""
    return percentile_interval(weights @ values)
