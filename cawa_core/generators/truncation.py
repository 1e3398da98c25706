"""Truncated latents (Brock et al. 2019, sec. 3.1): a normal distribution cut off at ±2, scaled by the truncation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BOUND = 2.0
"""Standard deviations at which latents are cut off, as in BigGAN's released samplers."""


def truncated(z: Tensor, truncation: float) -> Tensor:
    """Transform standard normal latents to truncated ones of the same shape by quantiles; unchanged at truncation 1.

    Each value depends only on its own normal deviate, so seeds keep their meaning.
    """
    if truncation == 1:
        return z
    inside = math.erf(BOUND / math.sqrt(2))
    quantile = 0.5 + inside * (torch.special.ndtr(z.double()) - 0.5)
    values: Tensor = torch.special.ndtri(quantile)
    return (truncation * values).to(z.dtype)


def truncated_deviation(truncation: float) -> float:
    """Return the standard deviation of a truncated coordinate; 1 at truncation 1, which truncates nothing."""
    if truncation == 1:
        return 1.0
    density = math.exp(-(BOUND**2) / 2) / math.sqrt(2 * math.pi)
    return truncation * math.sqrt(1 - 2 * BOUND * density / math.erf(BOUND / math.sqrt(2)))
