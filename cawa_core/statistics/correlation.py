"""Correlations along the last axis, and the smoothing that the paper applies first (sec. 4.1)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from scipy.stats import rankdata

Array = NDArray[np.float64]

SMOOTHING_WINDOW = 51
"""Window of the Savitzky-Golay filter in the paper."""
SMOOTHING_ORDER = 3

FEWEST_GROUPS = 3
"""Number of groups of channels below which a correlation is meaningless."""


def pearson(x: Array, y: Array) -> Array:
    """Return Pearson r of ``x [..., n]`` and ``y [..., n]``, broadcast; NaN where either is constant or not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
        norms = np.sqrt(np.square(x).sum(axis=-1) * np.square(y).sum(axis=-1))
        return np.where(norms > 0, np.einsum("...n,...n->...", x, y) / norms, np.nan)


def spearman(x: Array, y: Array) -> Array:
    """Return the rank correlation; ties get their mean rank."""
    return pearson(rankdata(x, axis=-1), rankdata(y, axis=-1))


def smoothing_window(n_groups: int) -> int:
    """Return the paper's window, 51, or the largest odd one up to ``n_groups``; 0 if a cubic does not fit (ours)."""
    window = min(SMOOTHING_WINDOW, n_groups - 1 + n_groups % 2)
    return window if window > SMOOTHING_ORDER else 0


def smoothed(values: Array) -> Array:
    """Apply the Savitzky-Golay filter along the last axis; too few values are returned unchanged."""
    window = smoothing_window(values.shape[-1])
    return savgol_filter(values, window, SMOOTHING_ORDER, axis=-1) if window else values


@lru_cache(maxsize=16)
def smoothing_matrix(n: int) -> Array:
    """Return the linear map :func:`smoothed` of n values as a matrix ``[n, n]``; it is cached, do not write to it."""
    return smoothed(np.eye(n)).T


def normalised(values: Array) -> Array:
    """Centre the values along the last axis and scale them to norm 1; constant values become zero."""
    centred = values - values.mean(axis=-1, keepdims=True)
    norms = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0))
