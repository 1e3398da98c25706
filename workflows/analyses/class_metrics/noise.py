"""Standard errors of differences of class metrics, which no table holds: from theory or from half samples.

Every function works on the scale of :func:`workflows.analyses.class_metrics.scales.on_scale`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workflows.compare.significance import Noise, unknown

Array = NDArray[np.float64]

NORMAL_MAD = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation."""
MANY = 30
"""Smallest number of classes for which noise comes from medians over classes, which moved classes barely affect."""
MAD_EFFICIENCY = 0.37
"""Efficiency of the median absolute deviation: degrees of freedom per class."""
FEWEST = 3
"""Smallest number of classes whose spread gives an estimate."""


def binomial(base_counts: Array, new_counts: Array, design_effect: float) -> Noise:
    """Return the noise of shares on the arcsine scale: variance ``1 / (4 n + 2)`` per audit, times the design effect.

    Latents that both audits have in common make the true noise smaller than this.
    """
    variance = 1 / (4 * base_counts + 2) + 1 / (4 * new_counts + 2)
    return Noise(np.sqrt(design_effect * variance), np.inf, "binomial")


def from_halves(whole: Array, half: Array, n_whole: Array, n_half: Array) -> Noise:
    """Estimate the noise from the differences shown by a part of the same generated images.

    For a mean over N draws of variance s² each, a part of m draws and the whole differ by noise of variance
    ``s² (1/m - 1/N)``, whatever the true difference, which both show; the noise of the whole is ``s² / N``. So
    ``(half - whole) sqrt(m / (N - m))`` has the noise of the whole. Distances are such means to first order. Latents
    that both audits have in common cancel as they do in the whole. All classes share one scale: the root mean square
    below :data:`MANY` classes, with one degree of freedom per class, else the median deviation. Classes where nothing
    moved carry no information and are left out.

    Args:
        whole, half: differences, new minus base, of all generated images and of a part of them ``[n]``.
        n_whole, n_half: generated images behind each ``[n]``.
    """
    usable = np.isfinite(whole) & np.isfinite(half) & (n_half < n_whole) & ((whole != 0) | (half != 0))
    if usable.sum() < FEWEST:
        return unknown(len(whole))
    m = n_half[usable]
    n = n_whole[usable]
    noise = (half[usable] - whole[usable]) * np.sqrt(m / (n - m))
    if len(noise) < MANY:
        scale = float(np.sqrt(np.mean(noise**2)))
        freedom = float(len(noise))
    else:
        scale = _median_deviation(noise)
        freedom = MAD_EFFICIENCY * (len(noise) - 1)
    return Noise(np.full(len(whole), scale), freedom, "half samples") if scale > 0 else unknown(len(whole))


def from_spread(differences: Array) -> Noise:
    """Estimate the noise from the spread of the differences over :data:`MANY` or more classes, most of them unmoved.

    The median removes a shift common to all classes; the test of the total detects such a shift.
    """
    moved = differences[np.isfinite(differences) & (differences != 0)]
    if len(moved) < MANY:
        return unknown(len(differences))
    freedom = MAD_EFFICIENCY * (len(moved) - 1)
    return Noise(np.full(len(differences), _median_deviation(moved)), freedom, "spread over classes")


def bound_of_pairs(base: Array, new: Array, base_images: Array, new_images: Array) -> Noise:
    """Bound the noise of a mean similarity in [0, 1] over all pairs of n images, such as MS-SSIM.

    The mean is an average of averages over ``n // 2`` pairs without an image in common, so its variance is at most
    ``v (1 - v) / (n // 2)`` for a mean v (Hoeffding 1963, sec. 5).
    """
    variances = (
        np.clip(values * (1 - values), 0, None) / np.maximum(images // 2, 1)
        for values, images in ((base, base_images), (new, new_images))
    )
    return Noise(np.sqrt(sum(variances)), np.inf, "bound")


def _median_deviation(values: Array) -> float:
    return float(NORMAL_MAD * np.median(np.abs(values - np.median(values))))
