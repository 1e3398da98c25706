"""Fréchet distance of features (Heusel et al. 2017) without a matrix square root."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.class_metrics.moments import Moments, mean_of, moments_of

MOST_VALUES = 2**22
"""Values of the features of subsets that are held at once, 32 MB."""


@dataclasses.dataclass(frozen=True)
class _Gaussian:
    """Mean ``[d]`` and covariance: Σ itself, or a factor F ``[n, d]`` with ``Fᵀ F = Σ`` if that has fewer rows."""

    mean: Tensor
    factor: Tensor | None = None
    covariance: Tensor | None = None


def frechet_distance(*, real: Tensor | Moments, fake: Tensor | Moments) -> float:
    """Return ``|μ_r - μ_f|² + tr(Σ_r + Σ_f - 2 √(Σ_r Σ_f))`` with unbiased covariances, in float64.

    For any factors ``Σ = Fᵀ F``, ``tr √(Σ_r Σ_f)`` is the nuclear norm of ``F_r F_fᵀ``. It is also the sum of the
    square roots of the eigenvalues of the symmetric ``F_r Σ_f F_rᵀ``. Centred features are such a factor, so the
    decomposition is small if either side has fewer features than dimensions.

    Args:
        real, fake: features ``[n >= 2, d]`` of any float type, or moments of at least 2 features.

    Raises:
        ValueError: too few features, or ``real`` and ``fake`` differ in d.
    """
    real_gaussian = _gaussian("real", real)
    fake_gaussian = _gaussian("fake", fake)
    real_mean = real_gaussian.mean
    fake_mean = fake_gaussian.mean
    if real_mean.shape != fake_mean.shape:
        raise ValueError(
            f"real and fake must have the same number of dimensions; got {len(real_mean)} and {len(fake_mean)}"
        )
    mean_term = (real_mean - fake_mean).square().sum()
    traces = mean_term + _trace(real_gaussian) + _trace(fake_gaussian)
    return max(0.0, float(traces - 2 * _trace_of_root(real_gaussian, fake_gaussian)))


def frechet_distances(*, real: Moments, fake: Tensor, subsets: Tensor) -> NDArray[np.float64]:
    """Return the Fréchet distance between real images and each of many subsets of some images.

    The same as :func:`frechet_distance` of each subset, but the product of all features with the covariance of the real
    ones is computed once.

    Args:
        real: moments of at least 2 features.
        fake: features ``[n, d]``.
        subsets: rows of the images in each subset, integers ``[subsets, m >= 2]``.

    Returns:
        Distances ``[subsets]``.
    """
    centre = real.mean
    features = fake.double() - centre
    products = features @ real.covariance
    distances = []
    scale = subsets.shape[1] - 1
    for rows in subsets.split(max(1, MOST_VALUES // (subsets.shape[1] * features.shape[1]))):
        chosen, chosen_products = features[rows], products[rows]
        means = chosen.mean(dim=1, keepdim=True)
        chosen = chosen - means
        chosen_products = chosen_products - chosen_products.mean(dim=1, keepdim=True)
        traces = means.square().sum(dim=(1, 2)) + real.covariance.trace() + chosen.square().sum(dim=(1, 2)) / scale
        eigenvalues = torch.linalg.eigvalsh(chosen_products @ chosen.transpose(1, 2) / scale)
        roots = torch.stack([_roots(values).sum() for values in eigenvalues])
        distances.append((traces - 2 * roots).clamp_min(0))
    return np.asarray(torch.cat(distances).numpy())


def _gaussian(name: str, sample: Tensor | Moments) -> _Gaussian:
    """Fit a Gaussian to features or moments; ``name`` is the argument that an error names."""
    if isinstance(sample, Tensor):
        if sample.ndim != 2 or len(sample) < 2:
            raise ValueError(f"{name} must be features [n >= 2, d]; got shape {list(sample.shape)}")
        if len(sample) <= sample.shape[1]:
            mean = mean_of(sample)
            return _Gaussian(mean, factor=(sample - mean) / math.sqrt(len(sample) - 1))
        sample = moments_of(sample)
    if sample.count < 2:
        raise ValueError(f"{name} must be moments of at least 2 features; got moments of {sample.count}")
    return _Gaussian(sample.mean, covariance=sample.covariance)


def _trace(gaussian: _Gaussian) -> Tensor:
    if gaussian.covariance is not None:
        return gaussian.covariance.trace()
    assert gaussian.factor is not None
    return gaussian.factor.square().sum()


def _trace_of_root(first: _Gaussian, second: _Gaussian) -> Tensor:
    """Return ``tr √(Σ₁ Σ₂)``, which is symmetric in its arguments."""
    if first.factor is not None and second.factor is not None:
        nuclear_norm: Tensor = torch.linalg.svdvals(first.factor @ second.factor.T).sum()
        return nuclear_norm
    if first.factor is None:
        first, second = second, first
    factor = _factor(first)
    assert second.covariance is not None
    return _roots(torch.linalg.eigvalsh(factor @ second.covariance @ factor.T)).sum()


def _factor(gaussian: _Gaussian) -> Tensor:
    if gaussian.factor is not None:
        return gaussian.factor
    assert gaussian.covariance is not None
    values, vectors = torch.linalg.eigh(gaussian.covariance)
    roots = _roots(values)
    factor: Tensor = roots[roots > 0, None] * vectors.T[roots > 0]
    return factor


def _roots(eigenvalues: Tensor) -> Tensor:
    """Return the square roots of a positive semidefinite matrix's eigenvalues; rounding errors around zero give zero.

    The threshold is that of the numerical rank. Without it, each error of 1e-16 would become one of 1e-8.
    """
    smallest = eigenvalues.max() * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return torch.where(eigenvalues > smallest, eigenvalues, 0).clamp_min(0).sqrt()
