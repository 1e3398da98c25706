"""Means of classes pooled as one sample of latents, and their t-test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Array = NDArray[np.float64]

ROUNDING = 1e-12
"""Standard error of equal values, as a share of their mean, that rounding may leave."""


def pooled(effect: Array, stderr: Array, n_latents: Array) -> tuple[Array, Array, Array]:
    """Pool the effects of classes as one sample of latents: mean, standard error and p-value ``[...]``.

    Args:
        effect, stderr: mean effects and standard errors of classes ``[classes, ...]``; an error may be NaN for a class
            with a single latent.
        n_latents: number of latents behind the effects of each class ``[classes]``.
    """
    count = n_latents.sum()
    number = n_latents.reshape(-1, *(1,) * (effect.ndim - 1)).astype(np.float64)
    mean = (number * effect).sum(axis=0) / count
    squares = (number * (number - 1) * np.square(np.nan_to_num(stderr)) + number * np.square(effect - mean)).sum(axis=0)
    error = np.sqrt(squares / (count - 1) / count) if count > 1 else np.full(mean.shape, np.nan)
    return mean, error, t_test(mean, error, float(count - 1))


def t_test(mean: Array, stderr: Array, freedom: float) -> Array:
    """Return the two-sided p-value of a mean; 1 where it is exactly zero, NaN where its error is unknown.

    Where all values are equal, as those of a score with few values can be, it is that of the sign test.

    Args:
        mean, stderr: mean of n values and its standard error.
        freedom: n - 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * stdtr(freedom, -np.abs(mean / stderr))
    p_value = np.where(stderr <= ROUNDING * np.abs(mean), min(1.0, 2 * 0.5 ** (freedom + 1)), p_value)
    return np.where((mean == 0) & ~np.isnan(stderr), 1.0, p_value)


def rise_p_value(values: Array) -> float:
    """Return the one-sided p-value that the mean of independent values ``[n]`` is above zero; 1 if all are zero.

    It is that of the t-test, or of the sign test where all values are equal.
    """
    spread = values.std(ddof=1) / np.sqrt(len(values))
    if not spread > ROUNDING * abs(values.mean()):
        return float(0.5 ** len(values)) if values.mean() > 0 else 1.0
    return float(stdtr(len(values) - 1, -values.mean() / spread))
