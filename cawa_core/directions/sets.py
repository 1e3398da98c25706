"""Small sets of dimensions that control a concept (Li et al. 2020), and sets to compare them with.

Only the paper's abstract and summary were at hand. Choices of our own: all sets are weighted, signed and of norm 1, so
that sets of any size take steps of equal length; the weights of a sequential set are its dimensions' effects; and a set
is empty where no dimension has a significant effect, or where the set has none on images that did not choose it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.directions.direction import unit

Array = NDArray[np.float64]

SHARE = 0.9
"""Share of the effect of all dimensions at which a sequential set is complete."""
PENALTY = 0.5
"""Weight of the sum of absolute weights in optimised sets, as a share of the largest derivative."""
SIGNIFICANT = 0.05
"""Largest adjusted p-value of a dimension that may enter a sequential set."""


def set_sizes(n_dimensions: int) -> list[int]:
    """Return the sizes that a sequential set may have: about half as many again each time, and all."""
    sizes = [1]
    while sizes[-1] < n_dimensions:
        sizes.append(min(n_dimensions, max(sizes[-1] + 1, sizes[-1] * 3 // 2)))
    return sizes


def sequential_set(effect: Array, q_value: Array, measure: Callable[[Tensor], Array], share: float = SHARE) -> Tensor:
    """Add dimensions by the size of their effect, until the set has most of the effect of all together.

    The size is found by bisection, as larger sets move the concept further.

    Args:
        effect: effect of each dimension on the concept ``[D]``.
        q_value: adjusted p-value of each effect ``[D]``; dimensions above 0.05 are left out.
        measure: mean change of the concept after a step along each of some weights ``[sets, D]``: ``[sets]``.
        share: share of the effect of all significant dimensions that completes the set.

    Returns:
        Weights ``[D]`` of norm 1, or zero where no dimension has a significant effect.
    """
    candidates = np.flatnonzero(np.nan_to_num(q_value, nan=1.0) <= SIGNIFICANT)
    if not len(candidates):
        return torch.zeros(len(effect))
    order = candidates[np.argsort(-np.abs(effect[candidates]), kind="stable")]
    sizes = set_sizes(len(order))

    def of_size(size: int) -> Tensor:
        weights = torch.zeros(len(effect))
        weights[order[:size]] = torch.from_numpy(effect[order[:size]]).float()
        return unit(weights)

    whole = float(measure(of_size(len(order))[None])[0])

    def has_most(size: int) -> bool:
        return size == len(order) or bool(measure(of_size(size)[None])[0] >= share * whole > 0)

    return of_size(sizes[bisect_left(sizes, True, key=has_most)])


def optimised_sets(
    derivatives: Callable[[Tensor, int], Tensor],
    n_concepts: int,
    n_dimensions: int,
    steps: int,
    penalty: float = PENALTY,
) -> Tensor:
    """Optimise a sparse, signed set for each concept: maximise its change, less a penalty on the sum of |weights|.

    On the sphere of weights of norm 1, each step goes to the maximiser of the change's linear approximation less the
    penalty, which is the derivative moved towards zero by the penalty (soft thresholding). Derivatives are averaged
    over the steps.

    Args:
        derivatives: derivatives of the changes by the weights at weights ``[concepts, D]``, on the images of a step.
        n_concepts, n_dimensions: numbers of concepts and dimensions.
        steps: number of steps, at least 1.
        penalty: weight of the penalty, as a share of the largest derivative of a concept.

    Returns:
        Weights ``[concepts, D]`` of norm 1; zero for a concept without derivatives.
    """
    weights = torch.zeros(n_concepts, n_dimensions)
    total = torch.zeros(n_concepts, n_dimensions)
    for step in range(steps):
        total += derivatives(weights, step).nan_to_num().cpu()
        weights = sparse(total, penalty)
    return weights


def sparse(derivatives: Tensor, penalty: float = PENALTY) -> Tensor:
    """Return the weights of norm 1 that maximise ``w·g - λ |w|_1``, with λ a share of the largest ``|g|``.

    Args:
        derivatives: g ``[..., D]``.
        penalty: the share.
    """
    size = derivatives.abs()
    threshold = penalty * size.amax(dim=-1, keepdim=True)
    return unit(derivatives.sign() * (size - threshold).clamp(min=0))


def bottom_set(effect: Array, size: int, places: Sequence[int]) -> Tensor:
    """Return the dimensions with the smallest effects, weighted by these (equally if there are none), of norm 1.

    Args:
        effect: effect of each dimension ``[D]``.
        size: number of dimensions.
        places: dimensions to choose from.
    """
    order = np.asarray(places)[np.argsort(np.abs(effect[list(places)]), kind="stable")[:size]]
    weights = torch.zeros(len(effect))
    chosen = torch.from_numpy(effect[order]).float()
    weights[torch.from_numpy(order)] = chosen if bool(chosen.any()) else torch.ones(size)
    return unit(weights)


def random_set(
    n_dimensions: int, size: int, random: np.random.Generator, places: Sequence[int] | None = None
) -> Tensor:
    """Draw dimensions and their weights at random: norm 1.

    Args:
        n_dimensions: number of dimensions of the space.
        size: number of dimensions that are drawn.
        random: source of the draws.
        places: dimensions to draw from; None for all.
    """
    weights = torch.zeros(n_dimensions)
    drawn = random.choice(n_dimensions if places is None else np.asarray(places), size, replace=False)
    weights[torch.from_numpy(drawn)] = torch.from_numpy(random.standard_normal(size)).float()
    return unit(weights)


def best_of(directions: Sequence[Tensor], changes: Array) -> Tensor:
    """Return, of directions and their opposites, the one that changes a concept most.

    Args:
        directions: weights ``[D]`` of norm 1.
        changes: change of the concept after a step along each and against each, ``[2, directions]``.
    """
    sign, place = np.unravel_index(int(np.argmax(np.nan_to_num(changes, nan=-np.inf))), changes.shape)
    return directions[int(place)] * (-1.0 if sign else 1.0)
