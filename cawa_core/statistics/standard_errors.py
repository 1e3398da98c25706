"""Standard errors of means over latents, classes and random draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def standard_error(values: Array) -> float:
    """Of the mean of independent values ``[n]``; NaN of one alone."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def crossed_standard_error(values: Array) -> float:
    """Of the mean of ``values [m, n]``, one for each of m random draws with each of n latents; NaN of one of either.

    Both are random (two-way random effects): the draws' means vary by the draws and by what is left, the latents'
    means by the latents and by what is left, which counts once.
    """
    m, n = values.shape
    if min(m, n) < 2:
        return float("nan")
    by_draw, by_latent = values.mean(axis=1), values.mean(axis=0)
    left = values - by_draw[:, None] - by_latent + values.mean()
    of_draws, of_latents = by_draw.var(ddof=1) / m, by_latent.var(ddof=1) / n
    of_what_is_left = np.square(left).sum() / ((m - 1) * (n - 1)) / (m * n)
    return float(np.sqrt(max(of_draws + of_latents - of_what_is_left, of_draws, of_latents)))
