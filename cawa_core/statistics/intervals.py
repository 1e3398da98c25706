"""Uncertainty of a statistic over classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations as all_permutations
from math import factorial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from cawa_core.parallel import map_in_threads
from cawa_core.statistics.correlation import normalised, pearson

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Interval:
    """Ends of a 95% interval; NaN where undefined."""

    low: float
    high: float


def bootstrap_pearson(x: Array, y: Array, resamples: int, random: np.random.Generator) -> Interval:
    """95% percentile interval of Pearson r over resampled pairs ``x [n]``, ``y [n]``."""
    rows = random.integers(len(x), size=(resamples, len(x)))
    return percentile_interval(pearson(x[rows], y[rows]))


def percentile_interval(values: Array) -> Interval:
    """Middle 95% of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(float(low), float(high))


def bootstrap_weights(n: int, resamples: int, random: np.random.Generator) -> Array:
    """How often each of n values is drawn, over n: ``[resamples, n]``; times the values, the resampled means."""
    drawn = random.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=resamples * n).reshape(resamples, n) / n


def bootstrap_mean(values: Array, weights: Array) -> Interval:
    """95% percentile interval of the mean of ``values [n]`` under :func:`bootstrap_weights`."""
    return percentile_interval(weights @ values)


ROUNDING = 1e-5
"""Null values this much below the observed one still count as equal: sums are of float32 products, and a permutation
that changes nothing must not fall on the wrong side."""
PAIRS_AT_ONCE = 16_384


def mantel_tests(
    one: Array, others: NDArray[np.unsignedinteger[Any]], permutations: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """Spearman r of one symmetric matrix with others, over pairs, and their one-sided permutation p-values.

    Rows and columns of the one are permuted together (Mantel 1967), so that pairs that share a class do not count as
    independent; all tests share the permutations. All permutations are used where there are no more than asked for.
    A permutation changes no rank: they are taken once, and the null of all tests is one matrix product.

    Args:
        one: ``[n, n]``.
        others: small whole numbers for the pairs (i, j), i < j, in ascending order ``[tests, n (n - 1) / 2]``.

    Returns:
        r and p ``[tests]``; NaN where either does not vary.
    """
    n = len(one)
    a, b = np.triu_indices(n, 1)
    ranks = np.zeros((n, n))
    ranks[a, b] = normalised(rankdata(one[a, b]))
    scores = [_normalised_ranks(counts) for counts in others]
    observed = np.array([ranks[a, b] @ of_count[counts] for of_count, counts in zip(scores, others, strict=True)])
    every = factorial(n) <= permutations
    orders = np.array(list(all_permutations(range(n)))) if every else _random_orders(n, permutations, random)
    single = [of_count.astype(np.float32) for of_count in scores]
    null = _mantel_null(torch.from_numpy(ranks + ranks.T).float(), orders, others, single)
    reached = (null >= observed[:, None] - ROUNDING).sum(axis=1)
    p_value = reached / len(orders) if every else (1 + reached) / (1 + len(orders))
    varies = (np.ptp(others, axis=1) > 0) & bool(np.ptp(one[a, b]) > 0)
    return np.where(varies, observed, np.nan), np.where(varies, p_value, np.nan)


def _random_orders(n: int, permutations: int, random: np.random.Generator) -> NDArray[np.int64]:
    return random.permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)


def _normalised_ranks(counts: NDArray[np.unsignedinteger[Any]]) -> Array:
    """Count => its mean rank among the counts, centred and scaled so that all of them together have norm 1."""
    times = np.bincount(counts)
    ranks = np.cumsum(times) - (times - 1) / 2 - (len(counts) + 1) / 2
    norm = np.sqrt(times @ np.square(ranks))
    return ranks / norm if norm > 0 else np.zeros(len(times))


def _mantel_null(
    ranks: Tensor,
    orders: NDArray[np.int64],
    others: NDArray[np.unsignedinteger[Any]],
    scores: Sequence[NDArray[np.float32]],
) -> Array:
    """Spearman r of every test under every order ``[tests, orders]``, summed over blocks of pairs."""
    a, b = np.triu_indices(len(ranks), 1)
    places, flat = orders.astype(np.int32), ranks.view(-1)

    def of_block(start: int) -> Array:
        some = slice(start, start + PAIRS_AT_ONCE)
        cells = places[:, a[some]]
        cells *= np.int32(len(ranks))
        cells += places[:, b[some]]
        permuted = flat.index_select(0, torch.from_numpy(cells.reshape(-1))).view(cells.shape)
        own = np.stack([of_count[counts[some]] for of_count, counts in zip(scores, others, strict=True)])
        return np.asarray((torch.from_numpy(own) @ permuted.T).double())

    return np.asarray(np.sum(map_in_threads(of_block, range(0, len(a), PAIRS_AT_ONCE)), axis=0))
