"""Overlap of the classes' top channels (paper sec. 4.1 and 4.2, Table 1, Appendix C).

The top set of a class is a row of channel indices, best first, so its k highest channels are the first k.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import binom

TopSets = NDArray[np.int64]
SHARE_ROUNDING = 1e-9
"""Rounding error of a share times a number of classes; 0.9 of 10 classes are 9."""
COMPARED_CRITERIA = ("category_highest", "expected_activation_highest", "masking_highest")
"""Criteria of the ``class_overlap`` table whose top sets the report shows and checkpoints are compared by."""


def top_channels(ranking: NDArray[np.floating[Any]], k: int) -> TopSets:
    """Return the k highest channels of each class, best first: values ``[n_classes, C]`` => indices ``[n_classes, k]``.

    NaN ranks below everything; of tied channels, the one with the lower index ranks first.

    Raises:
        ValueError: k is not in 1..C.
    """
    n_channels = ranking.shape[1]
    if not 1 <= k <= n_channels:
        raise ValueError(f"k must be in 1..{n_channels}, the number of channels; got {k}")
    values = -np.nan_to_num(ranking, nan=-np.inf)
    selected = np.sort(np.argpartition(values, k - 1, axis=1)[:, :k], axis=1)
    selected_values = np.take_along_axis(values, selected, axis=1)
    top = np.take_along_axis(selected, np.argsort(selected_values, axis=1, kind="stable"), axis=1)
    # A partition may select any of the channels that tie for place k; these classes are sorted in full.
    tied = np.flatnonzero((values <= selected_values.max(axis=1, keepdims=True)).sum(axis=1) > k)
    top[tied] = np.argsort(values[tied], axis=1, kind="stable")[:, :k]
    return top


SPARSE_COST = 50
"""Approximate cost of a multiplication in a sparse product, relative to a dense one."""


def overlap_counts(top: TopSets) -> NDArray[np.int32]:
    """Return ``|S_i ∩ S_j|`` for all pairs of classes: ``[n_classes, k]`` => ``[n_classes, n_classes]``."""
    n_classes, k = top.shape
    channels, column, class_counts = np.unique(top, return_inverse=True, return_counts=True)
    if SPARSE_COST * np.square(class_counts, dtype=np.int64).sum() < n_classes**2 * len(channels):
        starts = np.arange(n_classes + 1) * k
        shape = n_classes, len(channels)
        sparse = csr_array((np.ones(top.size, np.int32), column.reshape(-1), starts), shape=shape)
        return np.asarray((sparse @ sparse.T).toarray(), np.int32)
    membership = np.zeros((n_classes, len(channels)), np.float32)
    np.put_along_axis(membership, column.reshape(top.shape), 1, axis=1)
    return (membership @ membership.T).astype(np.int32)  # exact: counts are far below float32's 2**24


def class_counts(top: TopSets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the channels that are in any class's set, ascending, and the number of classes that each is in."""
    channels, counts = np.unique(top, return_counts=True)
    return channels, counts


@lru_cache(maxsize=4096)
def shared_by_chance(n_channels: int, k: int, n_classes: int, at_least: int | None = None) -> float:
    """Return the expected number of channels that are in the sets of ``at_least`` classes, by default of all.

    The sets are independent and random, each with k of the channels, so a channel is in a binomial number of them.
    """
    fewest = n_classes if at_least is None else at_least
    return float(n_channels * binom.sf(fewest - 1, n_classes, k / n_channels))


def classes_of_share(share: float, n_classes: int) -> int:
    """Return how many classes are at least a share of ``n_classes``; one at least."""
    return max(1, ceil(share * n_classes - SHARE_ROUNDING))
