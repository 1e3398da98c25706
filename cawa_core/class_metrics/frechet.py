"""Fréchet distance of features (Heusel et al. 2017) without a matrix square root."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frechet_distance(*, real: Tensor, fake: Tensor) -> float:
    """``|μ_r - μ_f|² + tr(Σ_r + Σ_f - 2 √(Σ_r Σ_f))`` with unbiased covariances.

    ``tr √(Σ_r Σ_f)`` is the nuclear norm of ``F_r F_fᵀ`` for any factors ``Σ = Fᵀ F``; the factors come from
    the QR decomposition of the centred features, so nothing is squared and rank deficiency needs no care.

    Args:
        real: features ``[n_real, d]``, at least 2.
        fake: features ``[n_fake, d]``, at least 2.
    """
    for name, features in (("real", real), ("fake", fake)):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"{name} must be features [n >= 2, d]; got shape {list(features.shape)}")
    real, fake = real.double(), fake.double()
    factor_real, factor_fake = _covariance_factor(real), _covariance_factor(fake)
    cross = torch.linalg.svdvals(factor_real @ factor_fake.T).sum()
    mean_term = (real.mean(dim=0) - fake.mean(dim=0)).square().sum()
    return max(0.0, float(mean_term + factor_real.square().sum() + factor_fake.square().sum() - 2 * cross))


def _covariance_factor(features: Tensor) -> Tensor:
    """F with ``Fᵀ F`` = unbiased covariance: float64 ``[min(n, d), d]``."""
    centred = (features - features.mean(dim=0)) / math.sqrt(len(features) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(centred) > centred.shape[1] else centred
