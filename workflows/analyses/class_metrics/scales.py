"""Scale on which changes of a class metric are tested, and the unit of its threshold."""

from __future__ import annotations

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
