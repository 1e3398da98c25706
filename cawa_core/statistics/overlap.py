"""Which channels classes have in common (paper sec. 4.1 and 4.2, Table 1, Appendix C).

The top set of a class is a row of channel indices, best first: the k highest are its first k, whatever k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

TopSets = NDArray[np.int64]
COMPARED_CRITERIA = ("category_highest", "expected_activation_highest", "masking_highest")
"""Criteria of the ``class_overlap`` table whose top sets are shown, and compared between checkpoints."""


def top_channels(ranking: NDArray[np.floating[Any]], k: int) -> TopSets:
    """The k highest of each class, best first: values ``[n_classes, C]`` => indices ``[n_classes, k]``.

    NaN ranks below everything; ties fall to the lower channel index.

    Raises:
        ValueError: there are fewer than k channels.
    """
    n_channels = ranking.shape[1]
    if not 1 <= k <= n_channels:
        raise ValueError(f"k must be in 1..{n_channels}, the number of channels; got {k}")
    values = -np.nan_to_num(ranking, nan=-np.inf)
    some = np.sort(np.argpartition(values, k - 1, axis=1)[:, :k], axis=1)
    own = np.take_along_axis(values, some, axis=1)
    top = np.take_along_axis(some, np.argsort(own, axis=1, kind="stable"), axis=1)
    tied = np.flatnonzero((values <= own.max(axis=1, keepdims=True)).sum(axis=1) > k)
    top[tied] = np.argsort(values[tied], axis=1, kind="stable")[:, :k]  # the partition may take any of the tied
    return top


SPARSE_COST = 50
"""How much longer one multiplication takes in a sparse product than in a dense one, roughly."""


def overlap_counts(top: TopSets) -> NDArray[np.int32]:
    """``|S_i ∩ S_j|`` for all pairs of classes: ``[n_classes, k]`` => ``[n_classes, n_classes]``."""
    n_classes, k = top.shape
    used, column, classes = np.unique(top, return_inverse=True, return_counts=True)
    if SPARSE_COST * np.square(classes, dtype=np.int64).sum() < n_classes**2 * len(used):
        starts = np.arange(n_classes + 1) * k
        shape = n_classes, len(used)
        sparse = csr_array((np.ones(top.size, np.int32), column.reshape(-1), starts), shape=shape)
        return np.asarray((sparse @ sparse.T).toarray(), np.int32)
    members = torch.zeros(n_classes, len(used))
    members.scatter_(1, torch.from_numpy(column.reshape(top.shape)), 1.0)
    return np.asarray((members @ members.T).int())  # exact: counts are far below float32's 2**24


def shared_by_all(top: TopSets) -> int:
    """How many channels are in the set of every class."""
    _, counts = np.unique(top, return_counts=True)
    return int((counts == len(top)).sum())


def shared_by_chance(n_channels: int, k: int, n_classes: int) -> float:
    """Expected number of channels that independent random sets of k have all in common."""
    return float(n_channels * (k / n_channels) ** n_classes)


def first_choices(top: TopSets) -> dict[int, int]:
    """Channel => how many classes rank it first."""
    channels, counts = np.unique(top[:, 0], return_counts=True)
    return dict(zip(channels.tolist(), counts.tolist(), strict=True))
