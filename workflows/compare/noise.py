"""Standard errors of the differences of class metrics, which no table holds: from theory or from half samples.

Every function works on the scale of :func:`workflows.compare.quality.on_scale`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Array = NDArray[np.float64]

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MANY = 30
"""Classes from which on noise is read off medians over classes, which classes that moved do not raise."""
MAD_EFFICIENCY = 0.37
"""Efficiency of the median absolute deviation: degrees of freedom a class."""
FEWEST = 3
"""Classes below which their spread says nothing."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard errors of differences.

    Attributes:
        stderr: of each class ``[n]``; NaN: unknown.
        freedom: degrees of freedom behind them; infinite where they come from theory.
        source: ``binomial``, ``half samples``, ``spread over classes``, ``bound`` or ``unknown``.
    """

    stderr: Array
    freedom: float
    source: str

    def p_values(self, differences: Array) -> Array:
        """Two-sided p of each difference ``[n]``; 1 where nothing moved at all, NaN where unknown."""
        moved = differences != 0
        z = np.divide(np.abs(differences), self.stderr, out=np.zeros_like(differences), where=moved)
        tail = norm.sf(z) if np.isinf(self.freedom) else t.sf(z, self.freedom)
        return np.asarray(np.where(moved, 2 * tail, 1.0))


def unknown(n: int) -> Noise:
    """Of n classes, nothing is known."""
    return Noise(np.full(n, np.nan), np.inf, "unknown")


def binomial(base_counts: Array, new_counts: Array, design_effect: float) -> Noise:
    """Of shares on the arcsine scale: variance ``1 / (4 n + 2)`` an audit, times the design effect.

    Latents that both audits have in common make the truth smaller than this.
    """
    variance = 1 / (4 * base_counts + 2) + 1 / (4 * new_counts + 2)
    return Noise(np.sqrt(design_effect * variance), np.inf, "binomial")


def from_halves(whole: Array, half: Array, drawn: Array, drawn_half: Array) -> Noise:
    """From the differences that a part of the same fakes shows.

    For a mean over N draws of variance s² each, the part of m draws and the whole differ by noise of variance
    ``s² (1/m - 1/N)``, whatever the true difference is, which both show; the whole's own noise is ``s² / N``. So
    ``(half - whole) sqrt(m / (N - m))`` has the noise of the whole. Distances are such means to first order. Latents
    that both audits have in common cancel in it as they do in the whole. One scale for all classes: up to
    :data:`MANY` of them the root mean square, a class a degree of freedom, then from the median deviation. Classes
    where nothing moved at all say nothing and are left out.

    Args:
        whole, half: differences, new minus base, of all fakes and of a part of them ``[n]``.
        drawn, drawn_half: fakes behind each ``[n]``.
    """
    usable = np.isfinite(whole) & np.isfinite(half) & (drawn_half < drawn) & ((whole != 0) | (half != 0))
    if usable.sum() < FEWEST:
        return unknown(len(whole))
    m, n = drawn_half[usable], drawn[usable]
    noise = (half[usable] - whole[usable]) * np.sqrt(m / (n - m))
    if len(noise) < MANY:
        scale, freedom = float(np.sqrt(np.mean(noise**2))), float(len(noise))
    else:
        scale, freedom = _median_deviation(noise), MAD_EFFICIENCY * (len(noise) - 1)
    return Noise(np.full(len(whole), scale), freedom, "half samples") if scale > 0 else unknown(len(whole))


def from_spread(differences: Array) -> Noise:
    """From the spread of the differences over :data:`MANY` or more classes, of which most did not move.

    A shift that all classes have is taken off by their median; it is for the test of the total to find.
    """
    moved = differences[np.isfinite(differences) & (differences != 0)]
    if len(moved) < MANY:
        return unknown(len(differences))
    freedom = MAD_EFFICIENCY * (len(moved) - 1)
    return Noise(np.full(len(differences), _median_deviation(moved)), freedom, "spread over classes")


def bound_of_pairs(base: Array, new: Array, base_images: Array, new_images: Array) -> Noise:
    """An upper bound for a mean over all pairs of n images of a similarity in [0, 1], as MS-SSIM is.

    It is an average of averages over ``n // 2`` pairs without an image in common, so that its variance is at most
    ``v (1 - v) / (n // 2)`` for a mean of v (Hoeffding 1963, sec. 5).
    """
    variances = (
        np.clip(values * (1 - values), 0, None) / np.maximum(images // 2, 1)
        for values, images in ((base, base_images), (new, new_images))
    )
    return Noise(np.sqrt(sum(variances)), np.inf, "bound")


def _median_deviation(values: Array) -> float:
    return float(NORMAL_MAD * np.median(np.abs(values - np.median(values))))
