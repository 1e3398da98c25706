"""Means over latents with their standard errors: from exact changes, or from few of them and many cheap ones.

The regression estimator takes a cheap change (by screening, or in lower precision) as a control variate of the exact
one: what the cheap change gets wrong is measured on a few latents, the rest of its mean on many.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Means and their standard errors, one a mask.

    Attributes:
        mean, stderr: ``[m]``.
        helped: whether the cheap changes entered, bool ``[m]``.
    """

    mean: Array
    stderr: Array
    helped: NDArray[np.bool_]


def sample_mean(changes: Array) -> Estimate:
    """Plain means of exact changes ``[m, n >= 2]``."""
    m, n = changes.shape
    return Estimate(changes.mean(axis=1), changes.std(axis=1, ddof=1) / math.sqrt(n), np.zeros(m, dtype=np.bool_))


def regression_mean(changes: Array, cheap: Array) -> Estimate:
    """Means of the exact changes, with the cheap ones as control variates; unbiased.

    The latents of the exact changes are cut into two halves. The slope that one half gives is applied to the other,
    and compared with the mean of the cheap changes over all latents but those that gave it, so that no slope has seen
    what it corrects (cross-fitting; the control variates are those of Owen 2013, Monte Carlo theory, ch. 8.9). Where
    one half finds that the cheap changes explain nothing, its slope is 0: the plain mean.

    Args:
        changes: exact ``[m, n]``, n at least 8.
        cheap: of the same masks ``[m, N]``, N at least n; the first n latents are those of ``changes``.

    Raises:
        ValueError: too few latents.
    """
    m, n = changes.shape
    total = _checked_total(changes, cheap)
    halves = (np.arange(n) % 2 == 0, np.arange(n) % 2 == 1)
    cheap = cheap - cheap.mean(axis=1, keepdims=True)  # moves no mean, and keeps the slopes out of the variance
    first = cheap[:, :n]
    slopes = [_slope(changes[:, half], first[:, half]) for half in halves]
    left = changes.copy()  # what the cheap changes get wrong
    mean = np.zeros(m)
    for half, other, slope in zip(halves, halves[::-1], slopes[::-1], strict=True):
        left[:, half] -= slope[:, None] * first[:, half]
        beyond = -first[:, other].sum(axis=1) / (total - other.sum())  # mean over all latents but those of the slope
        mean += half.sum() / n * (left[:, half].mean(axis=1) + slope * beyond)
    stderr = _combined_error(changes, left, (slopes[0] + slopes[1]) / 2, cheap)
    return Estimate(mean, stderr, (slopes[0] != 0) | (slopes[1] != 0))


def corrected_mean(changes: Array, cheap: Array) -> Estimate:
    """Means of the exact changes: of the cheap ones over all latents, and what these get wrong over a few; unbiased.

    For cheap changes that are the exact ones but for noise, as in lower precision (two levels of Giles 2015,
    Multilevel Monte Carlo methods): a slope of 1 that needs no data. Arguments and errors as of
    :func:`regression_mean`.
    """
    m, n = changes.shape
    _checked_total(changes, cheap)
    left = changes - cheap[:, :n]
    mean = left.mean(axis=1) + cheap.mean(axis=1)
    return Estimate(mean, _combined_error(changes, left, np.ones(m), cheap), np.ones(m, dtype=np.bool_))


def _checked_total(changes: Array, cheap: Array) -> int:
    n, total = changes.shape[1], int(cheap.shape[1])
    if n < SMALLEST or total < n:
        raise ValueError(
            f"changes must be of at least {SMALLEST} latents, and cheap of those or more; got {n} and {total}"
        )
    return total


def _combined_error(changes: Array, left: Array, slope: Array, cheap: Array) -> Array:
    """Standard errors ``[m]`` of ``mean(left) + slope · mean(cheap)``, the n latents of left being among the N."""
    n, total = left.shape[1], cheap.shape[1]
    first = cheap[:, :n] - cheap[:, :n].mean(axis=1, keepdims=True)
    shared = ((left - left.mean(axis=1, keepdims=True)) * first).sum(axis=1) / (n - 1)
    variance = left.var(axis=1, ddof=1) / n + (slope**2 * cheap.var(axis=1, ddof=1) + 2 * slope * shared) / total
    plain = changes.var(axis=1, ddof=1) / n
    stderr: Array = np.sqrt(np.where(variance > 0, variance, plain))
    return stderr


SMALLEST = 8
"""Fewer exact changes than this give no slope worth having."""


def _slope(changes: Array, cheap: Array) -> Array:
    """Least-squares slopes ``[m]`` of exact on cheap changes ``[m, k]``; 0 where they explain less than chance."""
    k = changes.shape[1]
    y, x = changes - changes.mean(axis=1, keepdims=True), cheap - cheap.mean(axis=1, keepdims=True)
    xx, xy, yy = (x * x).sum(axis=1), (x * y).sum(axis=1), (y * y).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = xy / xx
        explained = xy**2 / (xx * yy)
    helps = explained > 1 / (k - 1)  # what an independent x explains in the mean
    return np.where(helps & np.isfinite(slope), slope, 0.0)
