"""How well predictors foretell the effects of masking (paper sec. 4.1), against a permutation null."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from cawa_core.parallel import map_in_threads
from cawa_core.statistics.correlation import pearson, smoothing_matrix
from cawa_core.statistics.permutation_null import permutation_null

Array = NDArray[np.float64]

FEWEST_GROUPS = 3
"""Below this a correlation says nothing."""
CLASSES_AT_ONCE = 64
"""Classes to a thread at a time."""


@dataclasses.dataclass(frozen=True)
class MaskingCorrelations:
    """Correlations over the groups of a class and site: ``[predictors, effects, classes]``, NaN where undefined.

    Attributes:
        n_groups: groups behind each.
        pearson_smoothed: r with the effect smoothed in the order of the predictor.
        pearson, spearman: without smoothing.
        null_mean, null_std, p_value: see :class:`~cawa_core.statistics.permutation_null.PermutationNull`.
    """

    n_groups: NDArray[np.int64]
    pearson_smoothed: Array
    pearson: Array
    spearman: Array
    null_mean: Array
    null_std: Array
    p_value: Array


def masking_correlations(predictors: Array, effects: Array, orders: NDArray[np.int64]) -> MaskingCorrelations:
    """Correlate every predictor with every effect, class by class.

    Smoothing raises r by itself, so the null smooths a permuted effect in the same way.

    Args:
        predictors: ``[predictors, classes, n]``, finite.
        effects: change under masking ``[effects, classes, n]``, finite.
        orders: random orders of the n groups ``[n, permutations]``.
    """

    def of_classes(start: int) -> MaskingCorrelations:
        some = slice(start, start + CLASSES_AT_ONCE)
        return _correlations(predictors[:, some], effects[:, some], orders)

    parts = map_in_threads(of_classes, range(0, predictors.shape[1], CLASSES_AT_ONCE))
    return MaskingCorrelations(*(np.concatenate(one, axis=-1) for one in zip(*map(_values, parts), strict=True)))


def _values(correlations: MaskingCorrelations) -> list[Array]:
    return [getattr(correlations, field.name) for field in dataclasses.fields(correlations)]


def _correlations(predictors: Array, effects: Array, orders: NDArray[np.int64]) -> MaskingCorrelations:
    n_predictors, n_classes, n = predictors.shape
    shape = n_predictors, len(effects), n_classes
    if n < FEWEST_GROUPS:
        return MaskingCorrelations(np.full(shape, n), *(np.full(shape, np.nan) for _ in range(6)))
    smoothing = torch.from_numpy(smoothing_matrix(n).T.copy())
    order = np.argsort(predictors, axis=-1, kind="stable")
    x = np.take_along_axis(predictors, order, axis=-1)
    in_order = (np.take_along_axis(effects, one[None], axis=-1) for one in order)
    observed = np.stack(
        [
            pearson(values, np.asarray(torch.from_numpy(own) @ smoothing))
            for values, own in zip(x, in_order, strict=True)
        ]
    )
    varies = (np.ptp(predictors, axis=-1) > 0)[:, None] & (np.ptp(effects, axis=-1) > 0)
    observed = np.where(varies, observed, np.nan)
    null = permutation_null(x, effects, observed, orders)
    ranks = rankdata(predictors, axis=-1), rankdata(effects, axis=-1)
    unsmoothed = pearson(predictors[:, None], effects), pearson(ranks[0][:, None], ranks[1])
    rest = (np.where(varies, values, np.nan) for values in (*unsmoothed, null.mean, null.std, null.p_value))
    return MaskingCorrelations(np.full(shape, n), observed, *rest)
