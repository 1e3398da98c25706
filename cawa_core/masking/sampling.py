"""Means over latents with their standard errors, from exact changes, or from a few exact and many cheap ones.

The regression estimator uses a cheap change, from screening, as a control variate of the exact one: a few latents
measure its error, many its mean. Changes in lower precision are corrected in the same way, by their error on a few
latents.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Means and their standard errors, one per mask.

    Attributes:
        mean, stderr: mean change and its standard error, ``[m]`` each.
        slope: slope of exact on cheap changes, ``[m]``; 0 if no cheap ones were used.
    """

    mean: Array
    stderr: Array
    slope: Array


def sample_mean(changes: Array) -> Estimate:
    """Return plain means of exact changes ``[m, n >= 2]``."""
    m, n = changes.shape
    return Estimate(changes.mean(axis=1), changes.std(axis=1, ddof=1) / math.sqrt(n), np.zeros(m))


def regression_mean(changes: Array, cheap: Array) -> Estimate:
    """Estimate the means of exact changes without bias, with cheap ones as control variates.

    The latents of the exact changes are split into two halves. The slope fitted to one half is applied to the other,
    with the mean of the cheap changes over all latents except those it was fitted to, so that no slope corrects its
    own data (cross-fitting; the control variates are those of Owen 2013, Monte Carlo theory, ch. 8.9). If the cheap
    changes explain nothing in a half, its slope is 0, which leaves the plain mean.

    Args:
        changes: exact changes ``[m, n]``, n at least 8.
        cheap: cheap changes of the same masks ``[m, N]``, N at least n; the first n latents are those of ``changes``.

    Raises:
        ValueError: there are too few latents.
    """
    m, n = changes.shape
    total = int(cheap.shape[1])
    if n < SMALLEST or total < n:
        raise ValueError(
            f"changes must have at least {SMALLEST} latents, and cheap at least as many as changes; got {n} and {total}"
        )
    halves = (np.arange(n) % 2 == 0, np.arange(n) % 2 == 1)
    cheap = cheap - cheap.mean(axis=1, keepdims=True)  # changes no mean, and keeps the slopes out of the variance
    first = cheap[:, :n]
    slopes = [_slope(changes[:, half], first[:, half]) for half in halves]
    residuals = changes.copy()  # of the exact changes, given the cheap ones
    mean = np.zeros(m)
    for half, other_half, slope in zip(halves, halves[::-1], slopes[::-1], strict=True):
        residuals[:, half] -= slope[:, None] * first[:, half]
        mean_elsewhere = -first[:, other_half].sum(axis=1) / (total - other_half.sum())
        mean += half.sum() / n * (residuals[:, half].mean(axis=1) + slope * mean_elsewhere)
    slope = (slopes[0] + slopes[1]) / 2
    shared = _covariance(residuals, first)
    variance = residuals.var(axis=1, ddof=1) / n + (slope**2 * cheap.var(axis=1, ddof=1) + 2 * slope * shared) / total
    stderr = np.sqrt(np.where(variance > 0, variance, changes.var(axis=1, ddof=1) / n))
    return Estimate(mean, stderr, slope)


def correction(changes: Array, exact: Array) -> Estimate:
    """Estimate the mean error of changes in lower precision, as exact minus lower precision.

    Args:
        changes: changes in lower precision ``[m, n]``.
        exact: exact changes of the same masks and latents, NaN if unknown; at least two are known per mask.
    """
    difference = exact - changes
    known = np.isfinite(exact)
    n = known.sum(axis=1)
    mean = np.where(known, difference, 0).sum(axis=1) / n
    return Estimate(mean, np.sqrt(_covariance(difference, difference, known) / n), np.zeros(len(n)))


def corrected_mean(estimate: Estimate, wrong: Estimate, changes: Array, exact: Array, cheap: Array) -> Estimate:
    """Estimate the means of exact changes from many in lower precision and the error of a few of these.

    The sum needs no slope and is unbiased (two levels of Giles 2015, Multilevel Monte Carlo methods). Its variance
    includes the covariance due to the latents that both parts share.

    Args:
        estimate: estimate of the changes in lower precision, by :func:`sample_mean` or :func:`regression_mean`.
        wrong: estimate of their error, by :func:`correction`.
        changes, exact: see :func:`correction`.
        cheap: control variates of ``estimate``, ``[m, N]``.
    """
    n = changes.shape[1]
    total = cheap.shape[1]
    known = np.isfinite(exact)
    difference = exact - changes
    explained = estimate.slope[:, None] * cheap[:, :n]
    shared = _covariance(changes - explained, difference, known) / n + _covariance(explained, difference, known) / total
    variance = estimate.stderr**2 + wrong.stderr**2 + 2 * shared
    least = np.abs(estimate.stderr - wrong.stderr)  # by Cauchy-Schwarz; with few latents, shared may be inaccurate
    return Estimate(estimate.mean + wrong.mean, np.sqrt(np.maximum(variance, least**2)), estimate.slope)


def _covariance(x: Array, y: Array, known: NDArray[np.bool_] | None = None) -> Array:
    """Return the covariance ``[m]`` of the known values of each pair of rows ``[m, n]``."""
    if known is None:
        known = np.ones(x.shape, dtype=np.bool_)
    n = known.sum(axis=1)
    x, y = (np.where(known, values, 0) for values in (x, y))
    x, y = (values - known * (values.sum(axis=1) / n)[:, None] for values in (x, y))
    covariance: Array = (x * y).sum(axis=1) / (n - 1)
    return covariance


SMALLEST = 8
"""Minimum number of exact changes for a useful slope."""


def _slope(changes: Array, cheap: Array) -> Array:
    """Return least-squares slopes ``[m]`` of exact on cheap changes ``[m, k]``; 0 if these explain less than chance."""
    k = changes.shape[1]
    y = changes - changes.mean(axis=1, keepdims=True)
    x = cheap - cheap.mean(axis=1, keepdims=True)
    xx = (x * x).sum(axis=1)
    xy = (x * y).sum(axis=1)
    yy = (y * y).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = xy / xx
        explained = xy**2 / (xx * yy)
    helps = explained > 1 / (k - 1)  # what an independent x explains on average
    return np.where(helps & np.isfinite(slope), slope, 0.0)
