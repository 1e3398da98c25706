"""Which way a class metric is worse, how its noise is made even, and how large a change has to be to matter."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Quality:
    """A class metric as a comparison sees it.

    Attributes:
        worse: +1 where a rise is worse, -1 where a drop is.
        scale: on which scale differences are tested. ``share``: arcsine of the square root, whose standard error is
            1 / sqrt(4 n + 2) whatever the share; ``root``: signed square root, since the noise of distances and counts
            grows about as the root of their size; ``plain``: as it is.
        relative: whether the least size that counts is a share of the base's value.
        threshold: field of :class:`~workflows.compare.options.ComparisonSpec` with the least size that counts.
        design_effect: of a share, its variance over that of independent draws; 0 where it is no share.
    """

    worse: Literal[-1, 1]
    scale: Literal["share", "root", "plain"]
    relative: bool
    threshold: str
    design_effect: float = 0.0


DEPENDENT = 2.0
"""Design effect of recall and coverage. The reals are the same in both audits; a fake decides about all the reals in
its neighbourhood at once, so that their shares vary more than a binomial share: by factors of 0.6 to 1.8 over normal
features of 2 to 64 dimensions, k = 3, by simulation. Precision and accuracy average over independent fakes: 1."""

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
"""Metrics of as many fakes as there are reals, at most."""


def on_scale(quality: Quality, values: Array, counts: Array) -> Array:
    """Metric values ``[n]`` on the scale that they are tested on.

    Args:
        values: as in ``class_metrics``; NaN stays NaN.
        counts: draws behind each, for shares (Anscombe 1948: 3/8 added to hits, 3/4 to draws).
    """
    if quality.scale == "share":
        return np.arcsin(np.sqrt((values * counts + 3 / 8) / (counts + 3 / 4)))
    return np.sign(values) * np.sqrt(np.abs(values)) if quality.scale == "root" else values


def worsening(quality: Quality, base: Array, new: Array, floor: Array) -> Array:
    """By how much each class is worse ``[n]``, in the unit of its threshold; negative: better.

    Args:
        base, new: metric values ``[n]``.
        floor: least size that a relative change is relative to ``[n]``; it guards KID, which may be zero or below.
    """
    change = quality.worse * (new - base)
    if not quality.relative:
        return change
    size = np.maximum(np.abs(base), floor)
    boundless = np.copysign(np.inf, change)
    return np.divide(change, size, out=np.where(change == 0, 0.0, boundless), where=size > 0)
