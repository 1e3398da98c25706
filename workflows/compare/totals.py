"""Did a metric move over all classes, though perhaps in no single one beyond its noise?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t, wilcoxon

from workflows.compare.noise import Noise

Array = NDArray[np.float64]

FEWEST_FOR_RANKS = 10
"""Classes below which the ranks of the differences cannot reach small p-values."""


def shift_p_value(differences: Array, noise: Noise) -> float:
    """Two-sided p of "no shift over the classes"; 1 where nothing moved at all, NaN where nothing is known.

    From :data:`FEWEST_FOR_RANKS` classes on, Wilcoxon's signed ranks of the differences: it knows no noise and needs
    only that, without a change, a class is as likely to rise as to fall. Of fewer, :func:`most_moved_p_value`.

    Args:
        differences: new minus base on the scale of the test ``[n_classes]``, NaN where unknown.
        noise: their standard errors.
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
    """Two-sided p of "no more than half of the classes moved, in one direction".

    A partial conjunction (Benjamini and Heller 2008): whichever half moved most is left out, and the standardised
    differences of the others are summed (Stouffer), so that one class that is destroyed does not speak for all.

    Args:
        z: differences over their standard errors ``[n]``; independent. One that is NaN makes the p NaN.
        freedom: degrees of freedom of the standard errors.
    """
    if np.isnan(z).any():  # min() and max() would let it pass
        return float("nan")
    kept = len(z) - len(z) // 2
    ascending = np.sort(z)
    least = max(ascending[:kept].sum(), -ascending[-kept:].sum()) / np.sqrt(kept)
    tail = norm.sf(least) if np.isinf(freedom) else t.sf(least, freedom)
    return float(min(1.0, 2 * tail))
