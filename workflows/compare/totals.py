"""Tests for a shift of a metric over all classes, which no single class may show beyond its noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t, wilcoxon

from workflows.compare.noise import Noise

Array = NDArray[np.float64]

FEWEST_FOR_RANKS = 10
"""Smallest number of classes for which ranks of the differences can reach small p-values."""


def shift_p_value(differences: Array, noise: Noise) -> float:
    """Return the two-sided p-value of "no shift over the classes"; 1 if nothing moved, NaN if nothing is known.

    From :data:`FEWEST_FOR_RANKS` classes on, this is Wilcoxon's signed-rank test of the differences, which needs no
    noise estimate, only that without a change a class is as likely to rise as to fall. With fewer classes it is
    :func:`most_moved_p_value`.

    Args:
        differences: new minus base on the scale of the test ``[n_classes]``, NaN where unknown.
        noise: standard errors of the differences.
    """
    known = np.isfinite(differences)
    moved = differences[known]
    if not len(moved):
        return float("nan")
    if not moved.any():
        return 1.0
    if len(moved) >= FEWEST_FOR_RANKS:
        return float(wilcoxon(moved).pvalue)
    return most_moved_p_value(np.where(moved == 0, 0.0, moved / noise.stderr[known]), noise.freedom)


def most_moved_p_value(z: Array, freedom: float) -> float:
    """Return the two-sided p-value of "no more than half of the classes moved in one direction".

    This is a partial conjunction test (Benjamini and Heller 2008): the half that moved most is left out, and the
    standardised differences of the rest are summed (Stouffer), so that one destroyed class does not decide for all.

    Args:
        z: differences over their standard errors ``[n]``; independent. A NaN among them makes the p-value NaN.
        freedom: degrees of freedom of the standard errors.
    """
    if np.isnan(z).any():  # min() and max() would ignore it
        return float("nan")
    n_summed = len(z) - len(z) // 2
    ascending = np.sort(z)
    statistic = max(ascending[:n_summed].sum(), -ascending[-n_summed:].sum()) / np.sqrt(n_summed)
    tail = norm.sf(statistic) if np.isinf(freedom) else t.sf(statistic, freedom)
    return float(min(1.0, 2 * tail))
