"""Truncated latents (Brock et al. 2019, sec. 3.1): deviates beyond 2 drawn anew, all scaled by the truncation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BOUND = 2.0
"""Beyond this many standard deviations latents are cut, as in BigGAN's released samplers."""


def truncated(z: Tensor, truncation: float) -> Tensor:
    """Standard normal latents => truncated ones of the same shape, by the quantile transform; unchanged at 1.

    Each value depends on its own normal deviate alone, so that seeds keep their meaning.
    """
    if truncation == 1:
        return z
    inside = math.erf(BOUND / math.sqrt(2))
    quantile = 0.5 + inside * (torch.special.ndtr(z.double()) - 0.5)
    values: Tensor = torch.special.ndtri(quantile)
    return (truncation * values).to(z.dtype)


def truncated_deviation(truncation: float) -> float:
    """Standard deviation of one truncated coordinate; 1 at truncation 1, which truncates nothing."""
    if truncation == 1:
        return 1.0
    density = math.exp(-(BOUND**2) / 2) / math.sqrt(2 * math.pi)
    return truncation * math.sqrt(1 - 2 * BOUND * density / math.erf(BOUND / math.sqrt(2)))
