"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from cawa_core.class_metrics.moments import CHUNK_ROWS, mean_of

BLOCK_PAIRS = 2**22
"""Distances that are held in memory at once."""
EXACT_VALUES = 2**18
"""Coordinates processed at once when distances are computed in float64: 2 MB."""


@dataclasses.dataclass(frozen=True)
class ManifoldMetrics:
    """Precision, recall and coverage in [0, 1]; density is at least 0 and may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_metrics(*, real: Tensor, fake: Tensor, neighbours: int) -> ManifoldMetrics:
    """Compare two sets of features by their k-nearest-neighbour balls; a point on a ball's edge is inside.

    Every decision agrees with float64 distances by coordinate differences, so duplicates and ties are exact. A float32
    matrix product (torch's default precision) gives a distance and an error bound for all pairs. Only pairs that the
    bound leaves undecided are computed in float64.

    Args:
        real: features ``[n_real, d]``, more than ``neighbours``.
        fake: features ``[n_fake, d]``, more than ``neighbours``.
        neighbours: k, at least 1.

    Raises:
        ValueError: too few features, ``neighbours`` is not positive, or ``real`` and ``fake`` differ in d.
    """
    _check(real, fake, neighbours)
    centre = mean_of(real)
    real_points = _Points.of(real, centre)
    fake_points = _Points.of(fake, centre)
    real_radius = _squared_radii(real_points, neighbours)
    fake_radius = _squared_radii(fake_points, neighbours)
    n_balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)  # real balls that contain each fake
    n_recalled = 0
    n_covered = 0
    for rows in _row_blocks(len(real), len(fake)):
        bounds = _Bounds.between(real_points.rows(rows), fake_points)
        in_real_ball = bounds.within(real_radius[rows, None].expand(bounds.low.shape))
        in_fake_ball = bounds.within(fake_radius[None].expand(bounds.low.shape))
        n_balls += in_real_ball.sum(dim=0)
        n_covered += int(in_real_ball.any(dim=1).sum())
        n_recalled += int(in_fake_ball.any(dim=1).sum())
    return ManifoldMetrics(
        precision=float((n_balls > 0).double().mean()),
        recall=n_recalled / len(real),
        density=float(n_balls.double().mean() / neighbours),
        coverage=n_covered / len(real),
    )


def _check(real: Tensor, fake: Tensor, neighbours: int) -> None:
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1; got {neighbours}")
    for name, features in (("real", real), ("fake", fake)):
        if features.ndim != 2:
            raise ValueError(f"{name} must be features [n, d]; got shape {list(features.shape)}")
        if len(features) <= neighbours:
            raise ValueError(f"{name} must hold more than neighbours={neighbours} features; got {len(features)}")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real and fake must have the same number of dimensions; got {real.shape[1]} and {fake.shape[1]}"
        )


def _row_blocks(n_rows: int, n_columns: int) -> list[slice]:
    size = max(1, BLOCK_PAIRS // n_columns)
    return [slice(start, start + size) for start in range(0, n_rows, size)]


@dataclasses.dataclass(frozen=True)
class _Points:
    """Points of a feature space.

    Attributes:
        features: features ``[n, d]``.
        centred: features relative to a common centre, float32 ``[n, d]``.
        squares: squared norms of the centred features ``[n]``.
    """

    features: Tensor
    centred: Tensor
    squares: Tensor

    @classmethod
    def of(cls, features: Tensor, centre: Tensor) -> _Points:
        """Centre the features, which keeps the norms and therefore the error bound small."""
        parts = [(part - centre).float() for part in features.split(CHUNK_ROWS)]
        squares = [part.double().square_().sum(dim=1).float() for part in parts]
        return cls(features, torch.cat(parts), torch.cat(squares))

    def rows(self, rows: slice) -> _Points:
        """Select points."""
        return _Points(self.features[rows], self.centred[rows], self.squares[rows])


@dataclasses.dataclass(frozen=True)
class _Bounds:
    """Bounds on the squared distances between two sets of points: float32 ``[n, m]``; NaN where float32 overflows."""

    x: _Points
    y: _Points
    low: Tensor
    high: Tensor

    @classmethod
    def between(cls, x: _Points, y: _Points) -> _Bounds:
        """Bound all distances by one matrix product.

        Its error is at most ``d u |x| |y|`` in any order of summation, with ``u = 2⁻²⁴`` (Higham 2002, sec. 3.1), so
        that of ``|x|² + |y|² - 2 x·y`` is at most ``d u (|x|² + |y|²)``. Rounding of the coordinates, norms and sums
        adds less than 16 u, and underflow less than the smallest normal number per coordinate.
        """
        float32 = torch.finfo(torch.float32)
        dim = x.centred.shape[1]
        squares = x.squares[:, None] + y.squares
        distance = torch.addmm(squares, x.centred, y.centred.T, alpha=-2)
        error = squares.mul_((dim + 16) * float32.eps / 2).add_(4 * dim * float32.tiny)
        return cls(x, y, low=distance - error, high=distance.add_(error))

    def within(self, squared_radius: Tensor) -> Tensor:
        """Return whether each squared distance is at most ``squared_radius [n, m]``: bool ``[n, m]``."""
        inside = self.high <= squared_radius
        undecided = ~(inside | (self.low > squared_radius))  # includes NaN
        inside[undecided] = self.exact(undecided) <= squared_radius[undecided]
        return inside

    def exact(self, pairs: Tensor) -> Tensor:
        """Return float64 squared distances of the pairs that a bool ``[n, m]`` selects, in indexing order."""
        rows, columns = pairs.nonzero(as_tuple=True)
        size = max(1, EXACT_VALUES // self.x.features.shape[1])
        parts = [
            (self.x.features[i].double() - self.y.features[j].double()).square_().sum(dim=1)
            for i, j in zip(rows.split(size), columns.split(size), strict=True)
        ]
        return torch.cat(parts)


def _squared_radii(points: _Points, neighbours: int) -> Tensor:
    """Return the squared distance of each point to its k-th nearest neighbour: float64 ``[n]``."""
    parts = []
    for rows in _row_blocks(len(points.features), len(points.features)):
        bounds = _Bounds.between(points.rows(rows), points)
        for bound in (bounds.low, bounds.high):
            bound.diagonal(rows.start).fill_(torch.inf)  # a point is not its own neighbour
        farthest = bounds.high.topk(neighbours, largest=False).values[:, -1:]  # k neighbours are at least as near
        candidates = ~(bounds.low > farthest)
        candidates.diagonal(rows.start).fill_(False)
        distance = torch.full_like(bounds.low, torch.inf, dtype=torch.float64)
        distance[candidates] = bounds.exact(candidates)
        parts.append(distance.topk(neighbours, largest=False).values[:, -1])
    return torch.cat(parts)
