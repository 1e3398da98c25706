"""Permutation null of the smoothed correlation, for many classes of a site at once.

A null value is Pearson's r of a predictor x with the effect y, which is put in a random order P and then smoothed.
Smoothing is a linear map S (:func:`~cawa_core.statistics.correlation.smoothing_matrix`). For x centred and of norm 1,

    r = x·S y[P] / |S y[P] - mean| = (Sᵀx)·y[P] / sqrt(|S y[P]|² - n mean²)

The numerators of all predictors are one matrix product with the permuted effects. The denominators do not depend
on the predictor. S is banded (51 diagonals), so |S y[P]|² is summed over dense blocks along its diagonal.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.numerics.parallel import map_in_threads
from cawa_core.statistics.correlation import normalised, smoothing_matrix

Array = NDArray[np.float64]

CLASSES_AT_ONCE = 4
"""Classes per matrix product, which computes all pairs of classes but of which only the diagonal is used."""
ELEMENTS_AT_ONCE = 400_000
"""Permuted float32 values smoothed at once, so that they stay in a core's private cache."""
ROWS_AT_ONCE = 16
"""Rows of S in one dense block."""
ROUNDING = 1e-5
"""Null values closer to zero by this much than the observed one still count as equal. The arithmetic is float32, and a
permutation that changes nothing must not fall on the wrong side."""


@dataclasses.dataclass(frozen=True)
class PermutationNull:
    """Null of each predictor and effect in each class: ``[predictors, effects, classes]``, NaN where undefined.

    Attributes:
        mean, std: mean and standard deviation of the smoothed r over permutations.
        p_value: two-sided; (1 + permutations at least as far from zero) / (1 + permutations), never zero.
    """

    mean: Array
    std: Array
    p_value: Array


def random_orders(n: int, permutations: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return random orders of n items, one per column: ``[n, permutations]``."""
    return random.permuted(np.tile(np.arange(n)[:, None], permutations), axis=0)


def permutation_null(x: Array, y: Array, observed: Array, orders: NDArray[np.int64]) -> PermutationNull:
    """Compute the null of the smoothed r of every predictor with every effect, class by class.

    Args:
        x: predictors, each in ascending order, ``[predictors, classes, n]``; finite.
        y: masking effects in any order, ``[effects, classes, n]``; finite.
        observed: smoothed r to be tested, ``[predictors, effects, classes]``.
        orders: :func:`random_orders`, ``[n, permutations]``; the same for all classes, so that the result of a class
            does not depend on which other classes there are.
    """
    smoothing = smoothing_matrix(x.shape[-1])
    kernel = _Kernel.build(smoothing, orders)
    weights = torch.from_numpy(normalised(x)) @ torch.from_numpy(smoothing)
    effects = torch.from_numpy(normalised(y))

    def block_statistics(start: int) -> tuple[Array, Array, Array]:
        classes = slice(start, start + CLASSES_AT_ONCE)
        null = kernel.smoothed_r(weights[:, classes].float(), effects[:, classes].float())
        return _statistics(null, observed[:, :, classes])

    blocks = map_in_threads(block_statistics, range(0, x.shape[1], CLASSES_AT_ONCE))
    return PermutationNull(*(np.concatenate(column, axis=-1) for column in zip(*blocks, strict=True)))


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """The part of the computation that all classes share.

    Attributes:
        orders: ``[n, permutations]``.
        mean: weights ``[n]`` of the values in the average of the smoothed values.
        blocks: rows, columns and content of dense blocks of S that together hold all its nonzero entries.
    """

    orders: Tensor
    mean: Tensor
    blocks: tuple[tuple[slice, slice, Tensor], ...]

    @classmethod
    def build(cls, smoothing: Array, orders: NDArray[np.int64]) -> _Kernel:
        blocks = []
        for start in range(0, len(smoothing), ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, len(smoothing)))
            nonzero = np.flatnonzero(smoothing[rows].any(axis=0))
            columns = slice(int(nonzero[0]), int(nonzero[-1]) + 1)
            blocks.append((rows, columns, torch.from_numpy(smoothing[rows, columns].astype(np.float32))))
        mean = torch.from_numpy(smoothing.mean(axis=0).astype(np.float32))
        return cls(torch.from_numpy(orders), mean, tuple(blocks))

    def smoothed_r(self, weights: Tensor, effects: Tensor) -> Tensor:
        """Return the smoothed r under every order, ``[predictors, permutations, effects, classes]``.

        Args:
            weights: Sᵀx ``[predictors, classes, n]``.
            effects: y ``[effects, classes, n]``.
        """
        n_predictors, n_classes, n = weights.shape
        table = effects.permute(2, 0, 1).reshape(n, -1).contiguous()  # [n, effects * classes]
        left = torch.cat([weights.reshape(-1, n), self.mean[None]])  # [predictors * classes + 1, n]
        null = torch.empty(n_predictors, self.orders.shape[1], len(effects), n_classes)
        step = max(1, ELEMENTS_AT_ONCE // table.numel())
        buffers = None
        for orders, r in zip(self.orders.split(step, dim=1), null.split(step, dim=1), strict=True):
            if buffers is None or r.shape[1] < step:
                buffers = self._buffers(r.shape[1] * table.shape[1])
            permuted, smooth, products = buffers
            torch.index_select(table, 0, orders.reshape(-1), out=permuted.view(-1, table.shape[1]))
            numerators = left @ permuted  # [predictors * classes + 1, permutations * effects * classes]
            for content, source, target in products:
                torch.mm(content, source, out=target)
            squares = _column_squares(smooth).sub_(numerators[-1].square_(), alpha=n)
            norms = squares.clamp_min_(0).sqrt_().view(-1, len(effects), n_classes)
            pairs = numerators[:-1].view(n_predictors, n_classes, -1, len(effects), n_classes)
            torch.div(pairs.diagonal(dim1=1, dim2=4), norms, out=r)
        return null

    def _buffers(self, width: int) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Allocate permuted and smoothed values ``[n, width]``; list the products that smooth one into the other."""
        permuted, smooth = torch.empty(2, len(self.orders), width)
        return permuted, smooth, [(content, permuted[columns], smooth[rows]) for rows, columns, content in self.blocks]


def _column_squares(values: Tensor) -> Tensor:
    """Return the sum of squares of each column of ``[n, width]``; NumPy, as PyTorch cannot do it in one pass."""
    return torch.from_numpy(np.einsum("ij,ij->j", values.numpy(), values.numpy()))


def _statistics(null: Tensor, observed: Array) -> tuple[Array, Array, Array]:
    """Return mean, standard deviation and p-value ``[predictors, effects, classes]``."""
    count = null.shape[1]
    threshold = torch.from_numpy(np.clip(np.abs(observed) - ROUNDING, 0, None).astype(np.float32))[:, None]
    squares = null.square()
    n_reached = (squares >= threshold.square()).sum(dim=1, dtype=torch.int32).numpy()
    mean, mean_square = (values.sum(dim=1).double().numpy() / count for values in (null, squares))
    std = np.sqrt(np.clip(mean_square - mean**2, 0, None) * count / (count - 1))
    p_value = np.where(np.isfinite(observed), (1 + n_reached) / (1 + count), np.nan)
    return mean, std, p_value
