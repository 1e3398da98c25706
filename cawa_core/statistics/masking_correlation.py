"""Correlation of predictors with masking effects (paper sec. 4.1), tested against a permutation null."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from cawa_core.numerics.parallel import map_in_threads
from cawa_core.statistics.correlation import FEWEST_GROUPS, pearson, smoothing_matrix
from cawa_core.statistics.permutation_null import permutation_null

Array = NDArray[np.float64]

CLASSES_AT_ONCE = 64
"""Classes that a thread processes at once."""


@dataclasses.dataclass(frozen=True)
class MaskingCorrelations:
    """Correlations over the groups of a class and site: ``[predictors, effects, classes]``, NaN where undefined.

    Attributes:
        n_groups: number of groups in each correlation.
        pearson_smoothed: Pearson r with the effect smoothed in the order of the predictor.
        pearson, spearman: correlations without smoothing.
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

    Smoothing alone raises r, so the null smooths the permuted effect in the same way.

    Args:
        predictors: ``[predictors, classes, n]``, finite.
        effects: changes under masking, ``[effects, classes, n]``, finite.
        orders: random orders of the n groups, ``[n, permutations]``.
    """

    def block_correlations(start: int) -> MaskingCorrelations:
        classes = slice(start, start + CLASSES_AT_ONCE)
        return _correlations(predictors[:, classes], effects[:, classes], orders)

    blocks = map_in_threads(block_correlations, range(0, predictors.shape[1], CLASSES_AT_ONCE))
    names = [field.name for field in dataclasses.fields(MaskingCorrelations)]
    columns = {name: np.concatenate([getattr(block, name) for block in blocks], axis=-1) for name in names}
    return MaskingCorrelations(**columns)


def _correlations(predictors: Array, effects: Array, orders: NDArray[np.int64]) -> MaskingCorrelations:
    n_predictors, n_classes, n = predictors.shape
    shape = n_predictors, len(effects), n_classes
    if n < FEWEST_GROUPS:
        return MaskingCorrelations(np.full(shape, n), *(np.full(shape, np.nan) for _ in range(6)))
    smoothing = torch.from_numpy(smoothing_matrix(n).T.copy())
    order = np.argsort(predictors, axis=-1, kind="stable")
    x = np.take_along_axis(predictors, order, axis=-1)
    smoothed_r = []
    for sorted_predictor, predictor_order in zip(x, order, strict=True):
        sorted_effects = np.take_along_axis(effects, predictor_order[None], axis=-1)
        smoothed_effects = np.asarray(torch.from_numpy(sorted_effects) @ smoothing)
        smoothed_r.append(pearson(sorted_predictor, smoothed_effects))
    varies = (np.ptp(predictors, axis=-1) > 0)[:, None] & (np.ptp(effects, axis=-1) > 0)
    observed = np.where(varies, np.stack(smoothed_r), np.nan)
    null = permutation_null(x, effects, observed, orders)
    predictor_ranks, effect_ranks = rankdata(predictors, axis=-1), rankdata(effects, axis=-1)
    return MaskingCorrelations(
        n_groups=np.full(shape, n),
        pearson_smoothed=observed,
        pearson=np.where(varies, pearson(predictors[:, None], effects), np.nan),
        spearman=np.where(varies, pearson(predictor_ranks[:, None], effect_ranks), np.nan),
        null_mean=np.where(varies, null.mean, np.nan),
        null_std=np.where(varies, null.std, np.nan),
        p_value=np.where(varies, null.p_value, np.nan),
    )
