"""Means over latents with their standard errors: from exact changes, or from few of them and many cheap ones.

The regression estimator takes a cheap change, by screening, as a control variate of the exact one: what it gets wrong
is measured on a few latents, the rest of its mean on many. Changes in lower precision are corrected in the same
spirit by what they get wrong on a few latents.
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
        slope: of exact on cheap changes, ``[m]``; 0 where the cheap ones did not enter.
    """

    mean: Array
    stderr: Array
    slope: Array


def sample_mean(changes: Array) -> Estimate:
    """Plain means of exact changes ``[m, n >= 2]``."""
    m, n = changes.shape
    return Estimate(changes.mean(axis=1), changes.std(axis=1, ddof=1) / math.sqrt(n), np.zeros(m))


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
    total = int(cheap.shape[1])
    if n < SMALLEST or total < n:
        raise ValueError(
            f"changes must be of at least {SMALLEST} latents, and cheap of those or more; got {n} and {total}"
        )
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
    slope = (slopes[0] + slopes[1]) / 2
    shared = _covariance(left, first)
    variance = left.var(axis=1, ddof=1) / n + (slope**2 * cheap.var(axis=1, ddof=1) + 2 * slope * shared) / total
    stderr = np.sqrt(np.where(variance > 0, variance, changes.var(axis=1, ddof=1) / n))
    return Estimate(mean, stderr, slope)


def correction(changes: Array, exact: Array) -> Estimate:
    """Mean of what changes in lower precision get wrong.

    Args:
        changes: in lower precision ``[m, n]``.
        exact: of the same masks and latents, NaN where not known; of each mask at least two are.
    """
    wrong, known = exact - changes, np.isfinite(exact)
    n = known.sum(axis=1)
    mean = np.where(known, wrong, 0).sum(axis=1) / n
    return Estimate(mean, np.sqrt(_covariance(wrong, wrong, known) / n), np.zeros(len(n)))


def corrected_mean(estimate: Estimate, wrong: Estimate, changes: Array, exact: Array, cheap: Array) -> Estimate:
    """Means of the exact changes: of those in lower precision over many latents, and what these get wrong over a few.

    The sum needs no slope and is unbiased (two levels of Giles 2015, Multilevel Monte Carlo methods); its variance
    has the covariance that comes of the latents which both parts saw.

    Args:
        estimate: of the changes in lower precision, by :func:`sample_mean` or :func:`regression_mean`.
        wrong: of the difference, by :func:`correction`.
        changes, exact: as of :func:`correction`.
        cheap: the control variates of ``estimate``, ``[m, N]``.
    """
    (n, total), known, difference = (changes.shape[1], cheap.shape[1]), np.isfinite(exact), exact - changes
    explained = estimate.slope[:, None] * cheap[:, :n]
    shared = _covariance(changes - explained, difference, known) / n + _covariance(explained, difference, known) / total
    variance = estimate.stderr**2 + wrong.stderr**2 + 2 * shared
    least = np.abs(estimate.stderr - wrong.stderr)  # by Cauchy-Schwarz; from few latents, shared may be off
    return Estimate(estimate.mean + wrong.mean, np.sqrt(np.maximum(variance, least**2)), estimate.slope)


def _covariance(one: Array, other: Array, known: NDArray[np.bool_] | None = None) -> Array:
    """Covariance ``[m]`` of the known values of each row ``[m, n]``."""
    if known is None:
        known = np.ones(one.shape, dtype=np.bool_)
    n = known.sum(axis=1)
    one, other = (np.where(known, values, 0) for values in (one, other))
    one, other = (values - known * (values.sum(axis=1) / n)[:, None] for values in (one, other))
    covariance: Array = (one * other).sum(axis=1) / (n - 1)
    return covariance


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
