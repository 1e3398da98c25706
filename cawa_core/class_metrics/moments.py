"""Count, mean and scatter of features, chunk by chunk (Chan, Golub and LeVeque 1979)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

CHUNK_ROWS = 1024
"""Features per chunk: enough for fast matrix products, and independent of the networks' batch size."""


@dataclasses.dataclass(frozen=True)
class Moments:
    """First and second moments of a set of features, in float64.

    Attributes:
        count: number of features, at least 1.
        mean: mean μ, ``[d]``.
        scatter: ``Σ (x - μ)(x - μ)ᵀ``, ``[d, d]``.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance ``[d, d]``; needs at least 2 features."""
        return self.scatter / (self.count - 1)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the union of both sets."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = (self.scatter + other.scatter).addr_(step, step, alpha=self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)


def moments_of(features: Tensor) -> Moments:
    """Compute the moments of features ``[n >= 1, d]``.

    Raises:
        ValueError: ``features`` has another shape.
    """
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features must be [n >= 1, d]; got shape {list(features.shape)}")
    first, *rest = features.split(CHUNK_ROWS)
    moments = _moments_of_chunk(first)
    for chunk in rest:
        moments = moments.merge(_moments_of_chunk(chunk))
    return moments


def mean_of(features: Tensor) -> Tensor:
    """Return the mean of features ``[n >= 1, d]``: float64 ``[d]``.

    Summing by the chunk avoids torch's float64 copy of all features.
    """
    sums = [part.sum(dim=0, dtype=torch.float64) for part in features.split(CHUNK_ROWS)]
    return torch.stack(sums).sum(dim=0) / len(features)


def _moments_of_chunk(features: Tensor) -> Moments:
    mean = mean_of(features)
    centred = features - mean
    return Moments(len(features), mean, centred.T @ centred)


class MomentStream:
    """Moments of features that arrive in batches; the batch size does not change the result."""

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._pending: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Add features ``[n >= 0, d]``."""
        if len(features):  # an empty view would keep its whole batch in memory
            self._pending.append(features)
        n = sum(map(len, self._pending))
        if n >= CHUNK_ROWS:
            *chunks, rest = torch.cat(self._pending).tensor_split(list(range(CHUNK_ROWS, n + 1, CHUNK_ROWS)))
            for chunk in chunks:
                self._moments = _merge(self._moments, moments_of(chunk))
            self._pending = [rest.clone()] if len(rest) else []  # a view would keep the chunks in memory

    def moments(self) -> Moments | None:
        """Return the moments of all features added so far; None if there are none."""
        if not self._pending:
            return self._moments
        return _merge(self._moments, moments_of(torch.cat(self._pending)))


def _merge(first: Moments | None, second: Moments) -> Moments:
    return second if first is None else first.merge(second)
