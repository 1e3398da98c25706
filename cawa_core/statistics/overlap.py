"""Which channels classes have in common (paper sec. 4.1 and 4.2, Table 1, Appendix C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Members = NDArray[np.bool_]


def top_members(ranking: Array, k: int) -> Members:
    """Who is among the k highest of each class: values ``[n_classes, C]`` => bool ``[n_classes, C]``.

    NaN ranks below everything; ties fall to the lower channel index.
    """
    if not 1 <= k <= ranking.shape[1]:
        raise ValueError(f"k must be in 1..{ranking.shape[1]}, the number of channels; got {k}")
    order = np.argsort(-np.nan_to_num(ranking, nan=-np.inf), axis=1, kind="stable")[:, :k]
    members = np.zeros(ranking.shape, dtype=np.bool_)
    np.put_along_axis(members, order, values=True, axis=1)
    return members


def overlap_matrix(members: Members) -> Array:
    """``|S_i ∩ S_j| / k`` for all pairs of classes: ``[n_classes, n_classes]``."""
    sets = members.astype(np.float64)
    return sets @ sets.T / sets[0].sum()  # type: ignore[no-any-return]


def shared_by_all(members: Members) -> int:
    """How many channels are in the set of every class."""
    return int(members.all(axis=0).sum())


def shared_by_chance(n_channels: int, k: int, n_classes: int) -> float:
    """Expected number of channels that independent random sets of k have all in common."""
    return float(n_channels * (k / n_channels) ** n_classes)


def first_choices(ranking: Array) -> dict[int, int]:
    """Channel => how many classes rank it first."""
    channels, counts = np.unique(np.argmax(np.nan_to_num(ranking, nan=-np.inf), axis=1), return_counts=True)
    return dict(zip(channels.tolist(), counts.tolist(), strict=True))
