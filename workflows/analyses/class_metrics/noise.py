"""Standard errors of differences of class metrics, which no table holds: from theory or from half samples.

Every function works on the scale of :func:`workflows.analyses.class_metrics.scales.on_scale`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, t

from workflows.compare.significance import Noise, unknown

Array = NDArray[np.float64]

MANY = 30
"""Smallest number of classes whose noise shows how much it differs between classes."""
FREEDOMS = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 14, 20, 30, 60, 200, 1000.0])
"""Degrees of freedom that are tried for the distribution of the noise over classes."""
TYPICAL_FREEDOM = 4
"""Degrees of freedom that describe how much the noise of few classes differs; in simulations, many show 3 to 6."""
LIKELIHOOD_DROP = 1.92
"""Log likelihood below its maximum at which degrees of freedom are rejected at 0.05 (Wilks)."""
UNMOVED_SHARE = 0.95
"""Share of the classes whose differences show the noise if others may have moved."""
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
    that both audits have in common cancel as they do in the whole. Classes where nothing moved carry no information
    and are left out.

    Classes differ in their noise, so that of a class leans towards its own value: ``sqrt((d s² + own²) / (d + 1))``
    (Smyth 2004). With :data:`MANY` classes, :func:`heavy_tailed` tells the scale s and how much classes differ, and the
    test has d + 1 degrees of freedom. With fewer, s is the root mean square, d is :data:`TYPICAL_FREEDOM` or the number
    of classes if that is less, and the test has d degrees of freedom, because s is uncertain itself.

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
        d = float(min(len(noise), TYPICAL_FREEDOM))
        freedom = d
    else:
        scale, d = heavy_tailed(noise)
        freedom = d + 1
    stderr = np.full(len(whole), scale)
    stderr[usable] = np.sqrt((d * scale**2 + noise**2) / (d + 1))
    return Noise(stderr, freedom, "half samples") if scale > 0 else unknown(len(whole))


def from_spread(differences: Array) -> Noise:
    """Estimate the noise from the spread of the differences over :data:`MANY` or more classes, most of them unmoved.

    The median removes a shift common to all classes; the test of the total detects such a shift.
    """
    moved = differences[np.isfinite(differences) & (differences != 0)]
    if len(moved) < MANY:
        return unknown(len(differences))
    scale, freedom = heavy_tailed(moved - np.median(moved), UNMOVED_SHARE)
    if scale == 0:
        return unknown(len(differences))
    return Noise(np.full(len(differences), scale), freedom, "spread over classes")


def heavy_tailed(noise: Array, share: float = 1.0) -> tuple[float, float]:
    """Return scale and degrees of freedom of Student's t around 0 for the noise of many classes ``[n]``.

    If the variances of the classes differ like scaled inverse chi-squares of d degrees of freedom, their noise is
    Student's t with d. The degrees of freedom are the fewest that the likelihood does not reject, so that p-values
    are not too small; the scale is the one that gives the observed median size.

    Args:
        noise: one value per class.
        share: share of the classes, those of least noise, whose sizes count; of the others it counts only that they
            are larger.
    """
    sizes = np.sort(np.abs(noise))
    median = float(np.median(sizes))
    if median == 0:
        return 0.0, float(FREEDOMS[0])
    inner = sizes[: int(np.ceil(share * len(sizes)))]
    scales = np.asarray(median / t.ppf(0.75, FREEDOMS))
    likelihoods = (t.logpdf(inner[:, None] / scales, FREEDOMS) - np.log(scales)).sum(axis=0)
    if len(inner) < len(sizes):
        likelihoods += (len(sizes) - len(inner)) * t.logsf(inner[-1] / scales, FREEDOMS)
    fewest = int(np.flatnonzero(likelihoods >= likelihoods.max() - LIKELIHOOD_DROP)[0])
    return float(scales[fewest]), float(FREEDOMS[fewest])


def wider(first: Noise, second: Noise) -> Noise:
    """Return the larger standard error of two estimates for each class, with the fewer degrees of freedom."""
    if "unknown" in (first.source, second.source):
        return first if second.source == "unknown" else second
    return Noise(
        np.fmax(first.stderr, second.stderr), min(first.freedom, second.freedom), f"{first.source} and {second.source}"
    )


def exact_share_p_values(base: Array, new: Array, base_counts: Array, new_counts: Array) -> Array:
    """Return two-sided p-values of "both shares are equal" by Fisher's exact test; NaN where a share is unknown.

    Args:
        base, new: shares of independent draws, in [0, 1] ``[n]``.
        base_counts, new_counts: draws behind each ``[n]``.
    """
    known = np.isfinite(base) & np.isfinite(new) & np.isfinite(base_counts) & np.isfinite(new_counts)
    n_base, n_new = base_counts[known], new_counts[known]
    hits = np.rint(base[known] * n_base)
    total = hits + np.rint(new[known] * n_new)
    tails = (hypergeom(n_base + n_new, total, n_base).cdf(hits), hypergeom(n_base + n_new, total, n_base).sf(hits - 1))
    p_values = np.full(len(base), np.nan)
    p_values[known] = np.minimum(1.0, 2 * np.minimum(*tails))
    return np.where(base == new, 1.0, p_values)


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
