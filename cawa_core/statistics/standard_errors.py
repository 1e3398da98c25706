"""Standard errors of means over latents, classes and random draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def standard_error(values: Array) -> float:
    """Return the standard error of the mean of independent values ``[n]``; NaN for a single value."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def crossed_standard_error(values: Array) -> float:
    """Return the standard error of the mean of ``values [m, n]``: m random draws crossed with n latents.

    Both factors are random (two-way random effects). The variance of the draws' means includes the residual variance,
    and so does that of the latents' means, so the residual is subtracted once. NaN if m or n is 1.
    """
    m, n = values.shape
    if min(m, n) < 2:
        return float("nan")
    draw_means, latent_means = values.mean(axis=1), values.mean(axis=0)
    residuals = values - draw_means[:, None] - latent_means + values.mean()
    draw_variance = draw_means.var(ddof=1) / m
    latent_variance = latent_means.var(ddof=1) / n
    residual_variance = np.square(residuals).sum() / ((m - 1) * (n - 1)) / (m * n)
    return float(np.sqrt(max(draw_variance + latent_variance - residual_variance, draw_variance, latent_variance)))
