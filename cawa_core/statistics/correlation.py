"""How well a predictor foretells the effect of masking (paper sec. 4.1), against a permutation null."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from scipy.stats import rankdata

Array = NDArray[np.float64]

SMOOTHING_WINDOW = 51
"""Window of the Savitzky-Golay filter in the paper."""
SMOOTHING_ORDER = 3


@dataclasses.dataclass(frozen=True)
class MaskingCorrelation:
    """Correlation of one predictor with one effect over the groups of a class and site; NaN where undefined."""

    n_groups: int
    pearson_smoothed: float
    pearson: float
    spearman: float
    null_mean: float
    null_std: float
    p_value: float


def pearson(x: Array, y: Array) -> Array:
    """Pearson r of ``x [n]`` with every row of ``y [..., n]``; NaN where either does not vary."""
    x, y = x - x.mean(), y - y.mean(axis=-1, keepdims=True)
    norms = np.sqrt((x @ x) * np.square(y).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norms > 0, (y @ x) / norms, np.nan)


def spearman(x: Array, y: Array) -> float:
    """Rank correlation, ties at their mean rank."""
    return float(pearson(rankdata(x), rankdata(y)))


def smoothing_window(n_groups: int) -> int:
    """The paper's 51, or the largest odd number of groups below it; 0 where a cubic does not fit (ours)."""
    window = min(SMOOTHING_WINDOW, n_groups - 1 + n_groups % 2)
    return window if window > SMOOTHING_ORDER else 0


def smoothed(values: Array) -> Array:
    """Savitzky-Golay along the last axis; unchanged where there are too few values."""
    window = smoothing_window(values.shape[-1])
    return savgol_filter(values, window, SMOOTHING_ORDER, axis=-1) if window else values


def smoothed_permutations(change: Array, permutations: int, random: np.random.Generator) -> Array:
    """Random permutations of a change ``[n_groups]``, each smoothed: ``[permutations, n_groups]``."""
    return smoothed(random.permuted(np.tile(change, (permutations, 1)), axis=1))


def masking_correlation(predictor: Array, change: Array, null: Array) -> MaskingCorrelation:
    """Correlate a predictor ``[n_groups]`` with the change under masking ``[n_groups]``, both finite.

    The change is smoothed in the order of the predictor. Smoothing raises r by itself, so ``null``, its
    :func:`smoothed_permutations`, goes through the same; ``p_value`` is two-sided and never zero.
    """
    if len(predictor) < 3:
        return MaskingCorrelation(len(predictor), *[float("nan")] * 6)
    order = np.argsort(predictor, kind="stable")
    x, y = predictor[order], change[order]
    observed, by_chance = float(pearson(x, smoothed(y))), pearson(x, null)
    p_value = (1 + np.sum(np.abs(by_chance) >= abs(observed))) / (1 + len(null))
    return MaskingCorrelation(
        n_groups=len(x),
        pearson_smoothed=observed,
        pearson=float(pearson(x, y)),
        spearman=spearman(x, y),
        null_mean=float(by_chance.mean()),
        null_std=float(by_chance.std(ddof=1)),
        p_value=float(p_value) if np.isfinite(observed) else float("nan"),
    )
