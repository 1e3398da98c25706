"""Effects of dimensions on concepts: slopes, rank correlations, and their tests over latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.latents.dimensions import grid_slopes
from cawa_core.statistics.correlation import spearman
from cawa_core.statistics.pooling import t_test

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-6
"""Slope that is rounding: a share of the largest score, or of the standard deviation where that is larger."""


@dataclasses.dataclass(frozen=True)
class Effects:
    """Effects of D dimensions on concepts, ``[D, concepts]`` each.

    Attributes:
        effect: mean over latents of the least-squares slope of the score, per standard deviation of the dimension.
        effect_stderr: its standard error over latents; NaN for a single latent.
        rank_correlation: mean over latents of the rank correlation of the score with the value of the dimension; 0
            where the score does not change.
        rank_correlation_stderr: its standard error over latents.
        p_value: two-sided, of the t-test that the mean slope is zero; 1 where no score changes, NaN for a single
            latent.
    """

    effect: Array
    effect_stderr: Array
    rank_correlation: Array
    rank_correlation_stderr: Array
    p_value: Array


def effects_of(scores: Array, grid: Sequence[float], deviation: Array) -> Effects:
    """Compute effects from the scores of a class under interventions.

    Args:
        scores: scores ``[n, D, G, concepts]`` over the values of the grid.
        grid: values of the dimension, ascending, ``[G]``.
        deviation: standard deviation of each concept's scores over images of the class, the unit of what is rounding.
    """
    slopes = np.einsum("g,ndgk->ndk", grid_slopes(grid), scores)
    largest = np.maximum(deviation, np.abs(scores).max(axis=(0, 1, 2)))
    slopes[np.abs(slopes) <= NEGLIGIBLE * largest] = 0
    moved = np.moveaxis(scores, 2, -1)  # [n, D, concepts, G]
    correlations = np.nan_to_num(spearman(np.asarray(grid, dtype=np.float64), moved))
    correlations[slopes == 0] = 0
    effect, stderr = _mean_and_error(slopes)
    return Effects(effect, stderr, *_mean_and_error(correlations), t_test(effect, stderr, len(scores) - 1))


def _mean_and_error(values: Array) -> tuple[Array, Array]:
    """Return mean and standard error over the first axis; the error of a single value is NaN."""
    count = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), error
