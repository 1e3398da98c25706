"""Scale on which changes of a class metric are tested, and the unit of its threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.class_metrics.records import ClassMetric

Array = NDArray[np.float64]


def on_scale(metric: ClassMetric, values: Array, counts: Array) -> Array:
    """Transform metric values ``[n]`` to the scale on which they are tested.

    Args:
        values: as in ``class_metrics``; NaN stays NaN.
        counts: draws behind each value, for shares (Anscombe 1948: 3/8 added to hits, 3/4 to draws).
    """
    if metric.scale == "share":
        return np.arcsin(np.sqrt((values * counts + 3 / 8) / (counts + 3 / 4)))
    return np.sign(values) * np.sqrt(np.abs(values)) if metric.scale == "root" else values


def on_even_scale(metric: ClassMetric, values: Array, counts: Array) -> Array:
    """Transform values ``[n]`` so that good and bad classes of a healthy model scatter about alike, to find outliers.

    Shares are transformed as in :func:`on_scale`; distances, whose noise grows with their size, by their square roots.
    """
    if metric.scale == "relative":
        return np.sign(values) * np.sqrt(np.abs(values))
    return on_scale(metric, values, counts)


def sizes(metric: ClassMetric, whole: Sequence[Array], halves: Sequence[Array], real_halves: Sequence[Array]) -> Array:
    """Return what differences of each class are divided by on the scale of the test ``[n]``: 1 unless it is relative.

    The size of an audit's values is the mean absolute value of the metric for all images, for half of them, and
    between halves of the real images, as far as they are known: three values, so that one close to zero makes no
    change seem large. The geometric mean of both audits is the same whichever of them is the base, and grows without
    bound compared with that of the better one.

    Args:
        metric: the metric.
        whole, halves, real_halves: values of base and of new ``[n]``.
    """
    if metric.scale != "relative":
        return np.ones(len(whole[0]))
    means = []
    for parts in zip(whole, halves, real_halves, strict=True):
        values = np.abs(np.stack(parts))
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axis=0)
        means.append(np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0)))
    size = np.sqrt(means[0] * means[1])
    return np.where(size > 0, size, np.nan)


def worsening(metric: ClassMetric, base: Array, new: Array, floor: Array) -> Array:
    """Return how much worse each class is ``[n]``, in the unit of its threshold; negative: better.

    Args:
        base, new: metric values ``[n]``.
        floor: lower bound of the size that a relative change refers to ``[n]``; needed for KID, which may be zero or
            negative.
    """
    change = metric.worse_sign * (new - base)
    if not metric.is_relative:
        return change
    size = np.maximum(np.abs(base), floor)
    unbounded = np.copysign(np.inf, change)
    return np.divide(change, size, out=np.where(change == 0, 0.0, unbounded), where=size > 0)
