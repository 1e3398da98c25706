"""Significance of differences: standard errors and p-values."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t, wilcoxon

Array = NDArray[np.float64]

FEWEST_FOR_RANKS = 10
"""Smallest number of classes for which ranks of the differences can reach small p-values."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard errors of differences.

    Attributes:
        stderr: standard error per class ``[n]``; NaN: unknown.
        freedom: degrees of freedom of the standard errors; infinite if they come from theory.
        source: origin of the standard errors, such as ``binomial``; ``unknown`` if there are none.
    """

    stderr: Array
    freedom: float
    source: str

    def p_values(self, differences: Array) -> Array:
        """Return the two-sided p-value of each difference ``[n]``; 1 where nothing moved, NaN where unknown."""
        moved = differences != 0
        z = np.divide(np.abs(differences), self.stderr, out=np.zeros_like(differences), where=moved)
        tail = norm.sf(z) if np.isinf(self.freedom) else t.sf(z, self.freedom)
        return np.asarray(np.where(moved, 2 * tail, 1.0))


def unknown(n: int) -> Noise:
    """Return unknown noise for n classes."""
    return Noise(np.full(n, np.nan), np.inf, "unknown")


def welch_freedom(base_stderr: Array, new_stderr: Array, base_draws: Array, new_draws: Array) -> Array:
    """Return the degrees of freedom of differences of means (Welch-Satterthwaite) ``[n]``; NaN where unknown."""
    base_variance = base_stderr**2
    new_variance = new_stderr**2
    with np.errstate(divide="ignore", invalid="ignore"):
        total = base_variance + new_variance
        return np.asarray(total**2 / (base_variance**2 / (base_draws - 1) + new_variance**2 / (new_draws - 1)))


def difference_p_values(
    base: Array, new: Array, base_stderr: Array, new_stderr: Array, base_draws: Array, new_draws: Array
) -> Array:
    """Return Welch's two-sided p-values ``[n]`` of differences of means, given standard errors and draws ``[n]``.

    They are 1 where nothing moved, and NaN where something moved without a known standard error above zero.
    """
    freedom = welch_freedom(base_stderr, new_stderr, base_draws, new_draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = base_stderr**2 + new_stderr**2
        p_values = 2 * t.sf(np.abs(new - base) / np.sqrt(total), freedom)
    return np.where(new == base, 1.0, np.where(total > 0, p_values, np.nan))


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
