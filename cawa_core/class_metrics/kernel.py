"""Kernel distance of features (Bińkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

from torch import Tensor


def kernel_distance(*, real: Tensor, fake: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under ``k(x, y) = (x·y / d + 1)³``, over all samples at once.

    Args:
        real: features ``[n_real, d]``, at least 2.
        fake: features ``[n_fake, d]``, at least 2.
    """
    real, fake = real.double(), fake.double()
    return _mean_off_diagonal(real) + _mean_off_diagonal(fake) - 2 * float(_kernel(real, fake).mean())


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.T / one.shape[1] + 1) ** 3


def _mean_off_diagonal(features: Tensor) -> float:
    values, n = _kernel(features, features), len(features)
    return float((values.sum() - values.diagonal().sum()) / (n * (n - 1)))
