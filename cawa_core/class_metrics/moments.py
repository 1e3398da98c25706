"""Count, mean and scatter of features, chunk by chunk (Chan, Golub and LeVeque 1979)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

CHUNK_ROWS = 1024
"""Features folded in at once: enough for fast matrix products, whatever the batch size of the networks."""


@dataclasses.dataclass(frozen=True)
class Moments:
    """First and second moments of a set of features, in float64.

    Attributes:
        count: n, at least 1.
        mean: μ, ``[d]``.
        scatter: ``Σ (x - μ)(x - μ)ᵀ``, ``[d, d]``.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @property
    def covariance(self) -> Tensor:
        """Unbiased, ``[d, d]``; of at least 2 features."""
        return self.scatter / (self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together."""
        count, step = self.count + other.count, other.mean - self.mean
        scatter = (self.scatter + other.scatter).addr_(step, step, alpha=self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)


def moments_of(features: Tensor) -> Moments:
    """Moments of features ``[n >= 1, d]``.

    Raises:
        ValueError: ``features`` has another shape.
    """
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features must be [n >= 1, d]; got shape {list(features.shape)}")
    first, *others = features.split(CHUNK_ROWS)
    moments = _moments_of_chunk(first)
    for chunk in others:
        moments = moments.merged(_moments_of_chunk(chunk))
    return moments


def mean_of(features: Tensor) -> Tensor:
    """Mean of features ``[n >= 1, d]``: float64 ``[d]``, by the chunk, since torch makes a float64 copy of it all."""
    sums = [part.sum(dim=0, dtype=torch.float64) for part in features.split(CHUNK_ROWS)]
    return torch.stack(sums).sum(dim=0) / len(features)


def _moments_of_chunk(features: Tensor) -> Moments:
    mean = mean_of(features)
    centred = features - mean
    return Moments(len(features), mean, centred.T @ centred)


class MomentStream:
    """Moments of features that arrive by the batch; in what batches they come changes nothing."""

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._waiting: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Take features ``[n >= 0, d]``."""
        if len(features):  # an empty view would keep its whole batch in memory
            self._waiting.append(features)
        if sum(map(len, self._waiting)) >= CHUNK_ROWS:
            *full, rest = torch.cat(self._waiting).tensor_split(self._cuts())
            for chunk in full:
                self._moments = _merged(self._moments, moments_of(chunk))
            self._waiting = [rest.clone()] if len(rest) else []  # a view would hold the chunks before it

    def moments(self) -> Moments | None:
        """Of all that came; None before the first."""
        return _merged(self._moments, moments_of(torch.cat(self._waiting))) if self._waiting else self._moments

    def _cuts(self) -> list[int]:
        n = sum(map(len, self._waiting))
        return list(range(CHUNK_ROWS, n + 1, CHUNK_ROWS))


def _merged(one: Moments | None, other: Moments) -> Moments:
    return other if one is None else one.merged(other)
