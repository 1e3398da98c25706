"""Candidate thresholds of each unit, and the one that tells most about a concept (METHODS of dissection).

A unit is a channel of a site. It is on where its enlarged features exceed its threshold. Of the candidates, the one is
taken that maximises the information quality ratio of (unit on, concept present), mutual information over joint
entropy, on images that serve for nothing else.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.dissection.activations import N_STEPS, steps

SHARES = np.geomspace(0.001, 1, 100)
"""Shares of the pixels above the candidate thresholds, ascending."""


class StepHistogram:
    """Number of pixels at each step of the features of some units; sums do not depend on order or batch.

    Attributes:
        counts: int64 ``[units, N_STEPS]``.
    """

    def __init__(self, n_units: int) -> None:
        self.counts = np.zeros((n_units, N_STEPS), np.int64)

    def add(self, features: Tensor, units: slice = slice(None)) -> None:
        """Count the pixels of enlarged features ``[n, units, S, S]`` of some of the units."""
        counts = self.counts[units]
        for unit, values in enumerate(steps(features).transpose(0, 1).flatten(1).cpu().numpy()):
            counts[unit] += np.bincount(values, minlength=N_STEPS)

    def candidates(self) -> NDArray[np.int32]:
        """Return each unit's thresholds as steps, ascending ``[units, len(SHARES)]``.

        Of each share it is the lowest threshold that at most this share of the pixels exceeds. Zeros of the ReLU are
        one step, so that a unit which is rarely above zero has threshold 0 for all larger shares.
        """
        above = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1] - self.counts  # pixels that exceed each step
        most = np.floor(SHARES[::-1] * self.counts[0].sum())
        # Exceeding pixels fall along the steps; of their negatives, which rise, the first of at least -most is wanted.
        rows = [np.searchsorted(-row, -most, side="left") for row in above]
        return np.minimum(rows, N_STEPS - 1).astype(np.int32)


class LevelTable:
    """Places the features of units among their thresholds.

    Args:
        candidates: thresholds as steps, ascending ``[units, thresholds]``.
    """

    def __init__(self, candidates: NDArray[np.int32]) -> None:
        self.n_thresholds = candidates.shape[1]
        # The level of a value is the number of thresholds that it exceeds; those at its own step it does not.
        every = np.arange(N_STEPS)
        self._table = torch.from_numpy(
            np.stack([np.searchsorted(row, every, side="left") for row in candidates]).astype(np.uint8)
        )

    def levels(self, features: Tensor, units: slice = slice(None)) -> Tensor:
        """Return the number of thresholds that each of the features ``[n, units, S, S]`` exceeds, uint8."""
        table = self._table.to(features.device)[units]
        flat = steps(features).transpose(0, 1).flatten(1)
        levels = torch.gather(table, 1, flat.long())
        n, c, *size = features.shape
        return levels.view(c, n, *size).transpose(0, 1)


def information_quality_ratio(
    on: NDArray[np.integer], present: NDArray[np.integer], both: NDArray[np.integer], pixels: int
) -> NDArray[np.float64]:
    """Return mutual information over joint entropy of two events, from counts of pixels; 0 where either is constant.

    Args:
        on, present, both: number of pixels of the first event, of the second, and of both; arrays that broadcast.
        pixels: number of all pixels.
    """
    joint = np.stack(np.broadcast_arrays(both, on - both, present - both, pixels - on - present + both)) / pixels
    marginal = [np.asarray(count) / pixels for count in (on, pixels - on, present, pixels - present)]

    def entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.asarray(np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0))

    together = entropy(joint).sum(axis=0)
    apart = sum(map(entropy, marginal))
    varies = (np.asarray(on) > 0) & (np.asarray(on) < pixels) & (np.asarray(present) > 0) & (present < pixels)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (apart - together) / together
    return np.where(varies & (together > 0), np.maximum(ratio, 0), 0.0)
