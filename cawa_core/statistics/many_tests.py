"""Adjustment of p-values for many tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

Array = NDArray[np.float64]


def adjusted(p_values: Array) -> Array:
    """Return Benjamini-Hochberg adjusted p-values ``[n]``; NaN stays NaN and does not count as a test."""
    known = np.isfinite(p_values)
    q_values = np.full(p_values.shape, np.nan)
    if known.any():
        q_values[known] = false_discovery_control(p_values[known])
    return q_values
