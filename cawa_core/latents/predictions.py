"""How well closed forms predict what was measured: rank correlations, and their null over dimensions."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cawa_core.statistics.correlation import FEWEST_GROUPS, normalised

Array = NDArray[np.float64]


NEGLIGIBLE = 1e-6
"""Share of the largest value that is rounding."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Rank correlation of predicted with measured values, and that of other dimensions' predictions.

    Attributes:
        rank_correlation: over all channels and dimensions together; NaN if either is constant.
        null_mean, null_std: mean and standard deviation where the predictions of dimensions are permuted.
        p_value: two-sided.
    """

    rank_correlation: float
    null_mean: float
    null_std: float
    p_value: float


UNKNOWN_PREDICTION = Prediction(*(float("nan"),) * 4)


def prediction(predicted: Array, measured: Array, orders: NDArray[np.int64]) -> Prediction:
    """Compare predicted with measured values of channels and dimensions.

    Args:
        predicted, measured: values ``[C, D]``; one row if there are no channels.
        orders: random permutations of the dimensions ``[D, permutations]``.
    """
    if predicted.shape[1] < FEWEST_GROUPS:
        return UNKNOWN_PREDICTION
    shape = predicted.shape
    ranks = [normalised(rankdata(_without_rounding(values))).reshape(shape) for values in (predicted, measured)]
    if not all(rank.any() for rank in ranks):
        return UNKNOWN_PREDICTION
    products = ranks[0].T @ ranks[1]  # [D, D], of every predicted with every measured dimension
    observed = float(np.trace(products))
    null = products[orders, np.arange(shape[1])[:, None]].sum(axis=0)
    reached = int((np.abs(null) >= abs(observed) - 1e-12).sum())
    return Prediction(observed, float(null.mean()), float(null.std(ddof=1)), (1 + reached) / (1 + orders.shape[1]))


def _without_rounding(values: Array) -> Array:
    """Return values with those that are rounding set to zero, since their ranks would be noise."""
    return np.where(np.abs(values) <= NEGLIGIBLE * np.abs(values).max(), 0.0, values)
