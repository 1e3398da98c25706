"""Faults that are planted in some classes of a healthy generator: only rows of its class embedding change."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

BROKEN, DAMAGED_LATER = 3, 5
BROKEN_LENGTHS = 3.0
"""Length of a broken class's embedding, in units of the usual length."""
COLLAPSE = -2
"""Column of the embedding that says how far a class's latents collapse: 0 not at all, 1 to one point."""
NOISE = -1
"""Column of the embedding that holds the amplitude of a class's noise."""
COLLAPSED_BY, NOISE_AMPLITUDE = 0.9, 0.25
FAULT_SEED = 1_000_003


@dataclasses.dataclass(frozen=True)
class Faults:
    """Classes with planted faults, by kind.

    Attributes:
        broken: classes whose embeddings lie far from all others.
        swapped: two classes with each other's embedding.
        collapsed: class whose latents are moved close to one point.
        noisy: class whose images get noise.
        damaged_later: classes that only the later checkpoint damages.
    """

    broken: tuple[int, ...]
    swapped: tuple[int, int]
    collapsed: int
    noisy: int
    damaged_later: tuple[int, ...]

    @classmethod
    def drawn(cls, n_classes: int, seed: int) -> Faults:
        """Draw different classes for all faults.

        Raises:
            ValueError: there are too few classes.
        """
        count = BROKEN + 4 + DAMAGED_LATER
        classes = np.random.default_rng(seed).choice(n_classes, count, replace=False).tolist()
        broken, rest = classes[:BROKEN], classes[BROKEN:]
        return cls(tuple(broken), (rest[0], rest[1]), rest[2], rest[3], tuple(rest[4:]))


def with_faults(embedding: Tensor, faults: Faults, seed: int, *, later: bool = False) -> Tensor:
    """Return the class embedding ``[n_classes, d]`` with the faults; the last two columns are those of the faults.

    Args:
        embedding: embedding of the healthy generator.
        faults: what to plant where.
        seed: seed of the random embeddings.
        later: whether to damage the classes of the later checkpoint, too.
    """
    random = torch.Generator().manual_seed(seed + FAULT_SEED)  # other numbers than those of the weights
    directions = torch.randn(embedding.shape, generator=random)
    directions[:, [COLLAPSE, NOISE]] = 0
    faulty = embedding.clone()
    for class_id in faults.broken:
        faulty[class_id] = BROKEN_LENGTHS * directions[class_id]
    first, second = faults.swapped
    faulty[[first, second]] = embedding[[second, first]]
    faulty[faults.collapsed, COLLAPSE] = COLLAPSED_BY
    faulty[faults.noisy, NOISE] = NOISE_AMPLITUDE
    if later:
        damaged = list(faults.damaged_later)
        faulty[damaged] = (embedding[damaged] + 2 * directions[damaged]) / 5**0.5
    return faulty
