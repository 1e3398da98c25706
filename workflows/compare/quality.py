"""Direction, variance-stabilising scale and threshold of each class metric."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Quality:
    """Properties of a class metric that a comparison needs.

    Attributes:
        worse: +1 where a rise is worse, -1 where a drop is.
        scale: scale on which differences are tested. ``share``: arcsine of the square root, whose standard error is
            1 / sqrt(4 n + 2) whatever the share; ``root``: signed square root, since the noise of distances and counts
            grows about as the root of their size; ``plain``: unchanged.
        relative: whether the threshold is relative to the base's value.
        threshold: field of :class:`~workflows.compare.options.ComparisonSpec` with the smallest change that counts.
        design_effect: for a share, ratio of its variance to that of independent draws; 0 for other metrics.
    """

    worse: Literal[-1, 1]
    scale: Literal["share", "root", "plain"]
    relative: bool
    threshold: str
    design_effect: float = 0.0


DEPENDENT = 2.0
"""Design effect of recall and coverage. Both audits use the same real images, and one generated image decides about all
real images in its neighbourhood, so that these shares do not vary as a binomial share does: in simulations with normal
features of 2 to 64 dimensions and k = 3, by factors of 0.6 to 1.8. Precision and accuracy average over independent
generated images: 1."""

QUALITIES = {
    "precision": Quality(-1, "share", False, "precision_drop", 1.0),
    "recall": Quality(-1, "share", False, "recall_drop", DEPENDENT),
    "density": Quality(-1, "root", True, "density_drop"),
    "coverage": Quality(-1, "share", False, "coverage_drop", DEPENDENT),
    "fid": Quality(1, "root", True, "fid_rise"),
    "kid": Quality(1, "root", True, "kid_rise"),
    "ms_ssim": Quality(1, "plain", False, "ms_ssim_rise"),
    "classifier_accuracy": Quality(-1, "share", False, "classifier_accuracy_drop", 1.0),
}
MANIFOLD = ("precision", "recall", "density", "coverage")
"""Metrics that use at most as many generated images as there are real images."""


def on_scale(quality: Quality, values: Array, counts: Array) -> Array:
    """Transform metric values ``[n]`` to the scale on which they are tested.

    Args:
        values: as in ``class_metrics``; NaN stays NaN.
        counts: draws behind each value, for shares (Anscombe 1948: 3/8 added to hits, 3/4 to draws).
    """
    if quality.scale == "share":
        return np.arcsin(np.sqrt((values * counts + 3 / 8) / (counts + 3 / 4)))
    return np.sign(values) * np.sqrt(np.abs(values)) if quality.scale == "root" else values


def worsening(quality: Quality, base: Array, new: Array, floor: Array) -> Array:
    """Return how much worse each class is ``[n]``, in the unit of its threshold; negative: better.

    Args:
        base, new: metric values ``[n]``.
        floor: lower bound of the size that a relative change refers to ``[n]``; needed for KID, which may be zero or
            negative.
    """
    change = quality.worse * (new - base)
    if not quality.relative:
        return change
    size = np.maximum(np.abs(base), floor)
    unbounded = np.copysign(np.inf, change)
    return np.divide(change, size, out=np.where(change == 0, 0.0, unbounded), where=size > 0)
