"""Fréchet distance of features (Heusel et al. 2017) without a matrix square root."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from cawa_core.class_metrics.moments import Moments, mean_of, moments_of


@dataclasses.dataclass(frozen=True)
class _Gaussian:
    """Mean ``[d]`` and covariance: a factor F ``[n, d]`` with ``Fᵀ F = Σ`` where it has fewer rows than Σ, else Σ."""

    mean: Tensor
    factor: Tensor | None = None
    covariance: Tensor | None = None


def frechet_distance(*, real: Tensor | Moments, fake: Tensor | Moments) -> float:
    """``|μ_r - μ_f|² + tr(Σ_r + Σ_f - 2 √(Σ_r Σ_f))`` with unbiased covariances, in float64.

    For any factors ``Σ = Fᵀ F``, ``tr √(Σ_r Σ_f)`` is the nuclear norm of ``F_r F_fᵀ``, and the sum of the roots
    of the eigenvalues of the symmetric ``F_r Σ_f F_rᵀ``. Centred features are a factor, so fewer features than
    dimensions on either side keep the decomposition as small as they are few.

    Args:
        real, fake: features ``[n >= 2, d]`` of any float type, or the moments of at least 2.

    Raises:
        ValueError: too few features, or ``real`` and ``fake`` differ in d.
    """
    one, other = _gaussian("real", real), _gaussian("fake", fake)
    if one.mean.shape != other.mean.shape:
        raise ValueError(f"real and fake must have as many dimensions; got {len(one.mean)} and {len(other.mean)}")
    mean_term = (one.mean - other.mean).square().sum()
    return max(0.0, float(mean_term + _trace(one) + _trace(other) - 2 * _trace_of_root(one, other)))


def _gaussian(name: str, given: Tensor | Moments) -> _Gaussian:
    if isinstance(given, Tensor):
        if given.ndim != 2 or len(given) < 2:
            raise ValueError(f"{name} must be features [n >= 2, d]; got shape {list(given.shape)}")
        if len(given) <= given.shape[1]:
            mean = mean_of(given)
            return _Gaussian(mean, factor=(given - mean) / math.sqrt(len(given) - 1))
        given = moments_of(given)
    if given.count < 2:
        raise ValueError(f"{name} must be moments of at least 2 features; got those of {given.count}")
    return _Gaussian(given.mean, covariance=given.covariance)


def _trace(gaussian: _Gaussian) -> Tensor:
    if gaussian.covariance is not None:
        return gaussian.covariance.trace()
    assert gaussian.factor is not None
    return gaussian.factor.square().sum()


def _trace_of_root(one: _Gaussian, other: _Gaussian) -> Tensor:
    """``tr √(Σ₁ Σ₂)``, the same either way round."""
    if one.factor is not None and other.factor is not None:
        nuclear_norm: Tensor = torch.linalg.svdvals(one.factor @ other.factor.T).sum()
        return nuclear_norm
    if one.factor is None:
        one, other = other, one
    factor = _factor(one)
    assert other.covariance is not None
    return _roots(torch.linalg.eigvalsh(factor @ other.covariance @ factor.T)).sum()


def _factor(gaussian: _Gaussian) -> Tensor:
    if gaussian.factor is not None:
        return gaussian.factor
    assert gaussian.covariance is not None
    values, vectors = torch.linalg.eigh(gaussian.covariance)
    roots = _roots(values)
    factor: Tensor = roots[roots > 0, None] * vectors.T[roots > 0]
    return factor


def _roots(eigenvalues: Tensor) -> Tensor:
    """Square roots of a positive semidefinite matrix's eigenvalues, those that are rounding errors of zero left out.

    The cut is that of a numerical rank: a root would turn an error of 1e-16 into one of 1e-8, for each of them.
    """
    smallest = eigenvalues.max() * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return torch.where(eigenvalues > smallest, eigenvalues, 0).clamp_min(0).sqrt()
