"""Mantel tests: whether a matrix over pairs of classes follows counts of the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations as all_permutations
from math import factorial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from cawa_core.numerics.parallel import map_in_threads
from cawa_core.statistics.correlation import normalised

Array = NDArray[np.float64]

ROUNDING = 1e-5
"""Null values this much below the observed one still count as equal. The sums are of float32 products, and a
permutation that changes nothing must not fall on the wrong side."""
PAIRS_AT_ONCE = 16_384


def mantel_tests(
    matrix: Array, pair_counts: NDArray[np.unsignedinteger[Any]], permutations: int, random: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return Spearman r of a symmetric matrix with each set of pair counts, and one-sided permutation p-values.

    Rows and columns of the matrix are permuted together (Mantel 1967), so that pairs that share a class do not count
    as independent. All tests share the permutations. If there are no more than ``permutations``, all of them are
    used. A permutation changes no rank, so ranks are computed once and the null of all tests is one matrix product.

    Args:
        matrix: ``[n, n]``.
        pair_counts: small whole numbers for the pairs (i, j), i < j, in ascending order, ``[tests, n (n - 1) / 2]``.
        permutations: how many to draw at most.
        random: source of the drawn permutations.

    Returns:
        r, p and the standard deviation of the permuted r ``[tests]``; NaN where the matrix or the counts are constant.
    """
    n = len(matrix)
    a, b = np.triu_indices(n, 1)
    ranks = np.zeros((n, n))
    ranks[a, b] = normalised(rankdata(matrix[a, b]))
    scores = [_normalised_ranks(counts) for counts in pair_counts]
    observed = np.array([ranks[a, b] @ score[counts] for score, counts in zip(scores, pair_counts, strict=True)])
    exhaustive = factorial(n) <= permutations
    if exhaustive:
        orders = np.array(list(all_permutations(range(n))))
    else:
        orders = random.permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    float32_scores = [score.astype(np.float32) for score in scores]
    null = _mantel_null(torch.from_numpy(ranks + ranks.T).float(), orders, pair_counts, float32_scores)
    n_reached = (null >= observed[:, None] - ROUNDING).sum(axis=1)
    p_value = n_reached / len(orders) if exhaustive else (1 + n_reached) / (1 + len(orders))
    varies = (np.ptp(pair_counts, axis=1) > 0) & bool(np.ptp(matrix[a, b]) > 0)
    r, p, spread = (np.where(varies, values, np.nan) for values in (observed, p_value, null.std(axis=1)))
    return r, p, spread


def _normalised_ranks(counts: NDArray[np.unsignedinteger[Any]]) -> Array:
    """Map each count value to its mean rank, centred and scaled so that the ranks of all ``counts`` have norm 1."""
    frequency = np.bincount(counts)
    ranks = np.cumsum(frequency) - (frequency - 1) / 2 - (len(counts) + 1) / 2
    norm = np.sqrt(frequency @ np.square(ranks))
    return ranks / norm if norm > 0 else np.zeros(len(frequency))


def _mantel_null(
    ranks: Tensor,
    orders: NDArray[np.int64],
    pair_counts: NDArray[np.unsignedinteger[Any]],
    scores: Sequence[NDArray[np.float32]],
) -> Array:
    """Return Spearman r of every test under every order ``[tests, orders]``, summed over blocks of pairs."""
    a, b = np.triu_indices(len(ranks), 1)
    orders_int32 = orders.astype(np.int32)
    flat_ranks = ranks.view(-1)

    def block_sum(start: int) -> Array:
        block = slice(start, start + PAIRS_AT_ONCE)
        cells = orders_int32[:, a[block]]
        cells *= np.int32(len(ranks))
        cells += orders_int32[:, b[block]]
        permuted = flat_ranks.index_select(0, torch.from_numpy(cells.reshape(-1))).view(cells.shape)
        pair_scores = np.stack([score[counts[block]] for score, counts in zip(scores, pair_counts, strict=True)])
        return np.asarray((torch.from_numpy(pair_scores) @ permuted.T).double())

    return np.asarray(np.sum(map_in_threads(block_sum, range(0, len(a), PAIRS_AT_ONCE)), axis=0))
