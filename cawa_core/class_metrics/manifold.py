"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class ManifoldMetrics:
    """Shares in [0, 1], but for ``density``, which is at least 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_metrics(*, real: Tensor, fake: Tensor, neighbours: int) -> ManifoldMetrics:
    """Compare two sets of features by their k-nearest-neighbour balls; a point on a ball's edge is inside.

    Args:
        real: features ``[n_real, d]``, more than ``neighbours``.
        fake: features ``[n_fake, d]``, more than ``neighbours``.
        neighbours: k.
    """
    for name, features in (("real", real), ("fake", fake)):
        if len(features) <= neighbours:
            raise ValueError(f"{name} must hold more than neighbours={neighbours} features; got {len(features)}")
    real, fake = real.double(), fake.double()
    real_radius, fake_radius = _squared_radius(real, neighbours), _squared_radius(fake, neighbours)
    distance = squared_distances(real, fake)  # [n_real, n_fake]
    in_real_ball = distance <= real_radius[:, None]
    in_fake_ball = distance <= fake_radius[None, :]
    return ManifoldMetrics(
        precision=float(in_real_ball.any(dim=0).double().mean()),
        recall=float(in_fake_ball.any(dim=1).double().mean()),
        density=float(in_real_ball.double().sum(dim=0).mean() / neighbours),
        coverage=float(in_real_ball.any(dim=1).double().mean()),
    )


def squared_distances(one: Tensor, other: Tensor) -> Tensor:
    """Squared Euclidean distances: ``[n, d]``, ``[m, d]`` => ``[n, m]``."""
    squares = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)[None, :]
    return (squares - 2 * one @ other.T).clamp_min(0)


def _squared_radius(features: Tensor, neighbours: int) -> Tensor:
    """Squared distance of each point to its k-th nearest other point: ``[n]``."""
    distance = squared_distances(features, features).fill_diagonal_(0)
    return distance.kthvalue(neighbours + 1, dim=1).values
