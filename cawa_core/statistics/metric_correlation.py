"""Correlation of two quantities over classes: what a paper publishes, what decides a claim, and what it rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.correlation import pearson, spearman
from cawa_core.statistics.outliers import few, left_out, supporters
from cawa_core.statistics.verdicts import FAILS, HOLDS, SMALLEST_CORRELATION, Estimate, decide

Array = NDArray[np.float64]
Places = NDArray[np.int64]
Estimator = Callable[[Array, Array], Estimate]

NO_CLASSES: Places = np.array([], dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class MetricCorrelation:
    """Correlation of two quantities over classes; classes are places in the arrays.

    Attributes:
        pearson, spearman: correlations over all classes.
        influential: a few classes that Pearson's r rests on most, the most influential first.
        pearson_without: Pearson's r without them.
        outliers: classes far from the others in either quantity, which do not decide.
        robust: rank correlation without the outliers; it decides.
        verdict: verdict on the claimed sign; empty if none is claimed.
        hangs_on: the fewest of a few classes without which the verdict would be another one.
        robust_without: rank correlation without the outliers and these.
    """

    pearson: float
    spearman: float
    influential: Places
    pearson_without: float
    outliers: Places
    robust: Estimate
    verdict: str
    hangs_on: Places
    robust_without: float


def metric_correlation(x: Array, y: Array, sign: int, estimate: Estimator) -> MetricCorrelation:
    """Correlate two quantities over classes, and decide whether the correlation has a claimed sign.

    Args:
        x, y: values ``[n]``.
        sign: claimed sign, +1 or -1; 0 if there is none.
        estimate: rank correlation of some of the classes, with its interval and its test.
    """
    r = float(pearson(x, y))
    influential = supporters(x, y, 1 if r > 0 else -1, few(len(x)), by_ranks=False)
    outliers = left_out(x, y)
    inner = np.delete(np.arange(len(x)), outliers)
    robust = estimate(x[inner], y[inner])
    verdict = decide(robust, sign, SMALLEST_CORRELATION) if sign else ""
    hangs_on = inner[_hangs_on(x[inner], y[inner], sign, verdict, estimate)]
    return MetricCorrelation(
        pearson=r,
        spearman=float(spearman(x, y)),
        influential=influential,
        pearson_without=_without(pearson, x, y, influential),
        outliers=outliers,
        robust=robust,
        verdict=verdict,
        hangs_on=hangs_on,
        robust_without=_without(spearman, x, y, np.concatenate([outliers, hangs_on])),
    )


def _without(correlation: Callable[[Array, Array], Array], x: Array, y: Array, places: Places) -> float:
    return float(correlation(np.delete(x, places), np.delete(y, places)))


def _hangs_on(x: Array, y: Array, sign: int, verdict: str, estimate: Estimator) -> Places:
    """Return the fewest classes that change a verdict when they are left out; none if a few cannot, or it is open."""
    if verdict not in (HOLDS, FAILS):
        return NO_CLASSES
    order = supporters(x, y, sign if verdict == HOLDS else -sign, few(len(x)), by_ranks=True)

    def is_changed(n: int) -> bool:
        rest = np.delete(np.arange(len(x)), order[:n])
        return decide(estimate(x[rest], y[rest]), sign, SMALLEST_CORRELATION) != verdict

    if not len(order) or not is_changed(len(order)):
        return NO_CLASSES
    enough, too_few = len(order), 0
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if is_changed(middle):
            enough = middle
        else:
            too_few = middle
    return order[:enough]
