"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from cawa_core.class_metrics.moments import CHUNK_ROWS, mean_of

BLOCK_PAIRS = 2**22
"""Distances held at once."""
EXACT_VALUES = 2**18
"""Coordinates of pairs whose distance is taken in float64 at once: 2 MB."""


@dataclasses.dataclass(frozen=True)
class ManifoldMetrics:
    """Shares in [0, 1], but for ``density``, which is at least 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_metrics(*, real: Tensor, fake: Tensor, neighbours: int) -> ManifoldMetrics:
    """Compare two sets of features by their k-nearest-neighbour balls; a point on a ball's edge is inside.

    Every decision is that of float64 distances by coordinate differences, so duplicates and ties are right. All
    pairs get a distance by a float32 matrix product (torch's default precision) with a bound of its error; only
    where the bound leaves a decision open is the pair's distance taken in float64.

    Args:
        real: features ``[n_real, d]``, more than ``neighbours``.
        fake: features ``[n_fake, d]``, more than ``neighbours``.
        neighbours: k, at least 1.

    Raises:
        ValueError: too few features, ``neighbours`` is not positive, or ``real`` and ``fake`` differ in d.
    """
    _check(real, fake, neighbours)
    centre = mean_of(real)
    reals, fakes = _Points.of(real, centre), _Points.of(fake, centre)
    real_radius, fake_radius = _squared_radii(reals, neighbours), _squared_radii(fakes, neighbours)
    balls_around_fake = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    n_recalled = n_covered = 0
    for rows in _row_blocks(len(real), len(fake)):
        bounds = _Bounds.between(reals.rows(rows), fakes)
        in_real_ball = bounds.within(real_radius[rows, None].expand(bounds.low.shape))
        in_fake_ball = bounds.within(fake_radius[None].expand(bounds.low.shape))
        balls_around_fake += in_real_ball.sum(dim=0)
        n_covered += int(in_real_ball.any(dim=1).sum())
        n_recalled += int(in_fake_ball.any(dim=1).sum())
    return ManifoldMetrics(
        precision=float((balls_around_fake > 0).double().mean()),
        recall=n_recalled / len(real),
        density=float(balls_around_fake.double().mean() / neighbours),
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
        raise ValueError(f"real and fake must have as many dimensions; got {real.shape[1]} and {fake.shape[1]}")


def _row_blocks(n_rows: int, n_columns: int) -> list[slice]:
    size = max(1, BLOCK_PAIRS // n_columns)
    return [slice(start, start + size) for start in range(0, n_rows, size)]


@dataclasses.dataclass(frozen=True)
class _Points:
    """Features ``[n, d]`` as given; the same in float32 about a common centre; and squared norms of these ``[n]``."""

    features: Tensor
    centred: Tensor
    squares: Tensor

    @classmethod
    def of(cls, features: Tensor, centre: Tensor) -> _Points:
        """Centring makes the norms, and with them the bound of the error, small."""
        parts = [(part - centre).float() for part in features.split(CHUNK_ROWS)]
        squares = [part.double().square_().sum(dim=1).float() for part in parts]
        return cls(features, torch.cat(parts), torch.cat(squares))

    def rows(self, rows: slice) -> _Points:
        return _Points(self.features[rows], self.centred[rows], self.squares[rows])


@dataclasses.dataclass(frozen=True)
class _Bounds:
    """Squared distances between two sets lie in [low, high]: float32 ``[n, m]``; NaN where float32 overflows."""

    one: _Points
    other: _Points
    low: Tensor
    high: Tensor

    @classmethod
    def between(cls, one: _Points, other: _Points) -> _Bounds:
        """The matrix product errs by at most ``d u |x| |y|`` in any order of summation, with ``u = 2⁻²⁴``
        (Higham 2002, sec. 3.1), so ``|x|² + |y|² - 2 x·y`` by ``d u (|x|² + |y|²)``; rounding of the coordinates,
        norms and sums adds less than 16 u, and underflow less than the smallest normal number a coordinate.
        """
        kind, dim = torch.finfo(torch.float32), one.centred.shape[1]
        squares = one.squares[:, None] + other.squares
        distance = torch.addmm(squares, one.centred, other.centred.T, alpha=-2)
        error = squares.mul_((dim + 16) * kind.eps / 2).add_(4 * dim * kind.tiny)
        return cls(one, other, low=distance - error, high=distance.add_(error))

    def within(self, squared_radius: Tensor) -> Tensor:
        """Whether each distance is at most a radius ``[n, m]``: bool ``[n, m]``."""
        inside = self.high <= squared_radius
        is_open = ~(inside | (self.low > squared_radius))  # so that NaN is open
        inside[is_open] = self.exact(is_open) <= squared_radius[is_open]
        return inside

    def exact(self, pairs: Tensor) -> Tensor:
        """Squared distances float64 of the pairs chosen by a bool ``[n, m]``, in the order of indexing by it."""
        rows, columns = pairs.nonzero(as_tuple=True)
        size = max(1, EXACT_VALUES // self.one.features.shape[1])
        parts = [
            (self.one.features[i].double() - self.other.features[j].double()).square_().sum(dim=1)
            for i, j in zip(rows.split(size), columns.split(size), strict=True)
        ]
        return torch.cat(parts)


def _squared_radii(points: _Points, neighbours: int) -> Tensor:
    """Squared distance of each point to its k-th nearest other point: float64 ``[n]``."""
    parts = []
    for rows in _row_blocks(len(points.features), len(points.features)):
        bounds = _Bounds.between(points.rows(rows), points)
        for bound in (bounds.low, bounds.high):
            bound.diagonal(rows.start).fill_(torch.inf)  # not its own neighbour
        enough = bounds.high.topk(neighbours, largest=False).values[:, -1:]  # k others are at least as near
        candidates = ~(bounds.low > enough)
        candidates.diagonal(rows.start).fill_(False)
        distance = torch.full_like(bounds.low, torch.inf, dtype=torch.float64)
        distance[candidates] = bounds.exact(candidates)
        parts.append(distance.topk(neighbours, largest=False).values[:, -1])
    return torch.cat(parts)
