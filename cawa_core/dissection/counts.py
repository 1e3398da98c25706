"""Exact counts of pixels where units are on and concepts present, and what they would be by chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.numerics.arithmetic import full_precision

Counts = NDArray[np.int64]
Array = NDArray[np.float64]

IMAGES_PERMUTED = 32
"""Label maps are permuted among this many consecutive images, so that the work grows with their number."""
N_LEVELS = 256
"""Number of values that a level can have, as uint8."""


class JointCounts:
    """Number of pixels at each level of some units, in all and where each concept is.

    Attributes:
        pixels: number of pixels.
        present: number of pixels of each concept ``[concepts]``.
        at_level: int64 ``[units, levels]``.
        present_at_level: int64 ``[units, levels, concepts]``.
    """

    def __init__(self, n_units: int, n_thresholds: int, n_concepts: int) -> None:
        self.pixels = 0
        self.present = np.zeros(n_concepts, np.int64)
        self.at_level = np.zeros((n_units, n_thresholds + 1), np.int64)
        self.present_at_level = np.zeros((n_units, n_thresholds + 1, n_concepts), np.int64)

    def add(self, levels: Tensor, masks: Tensor, units: slice = slice(None)) -> None:
        """Count some of the units in images; :meth:`add_pixels` counts their pixels once for all units.

        Args:
            levels: number of thresholds that each value exceeds, uint8 ``[n, units, S, S]``.
            masks: where each concept is, bool ``[n, concepts, S, S]``.
            units: which units these are.
        """
        n_levels = self.at_level.shape[1]
        by_unit = levels.transpose(0, 1).flatten(1).cpu().numpy()
        self.at_level[units] += _level_counts(by_unit, n_levels)
        for concept, mask in enumerate(masks.transpose(0, 1).flatten(1).cpu().numpy()):
            places = np.flatnonzero(mask)
            if len(places):
                self.present_at_level[units, :, concept] += _level_counts(by_unit[:, places], n_levels)

    def add_pixels(self, masks: Tensor) -> None:
        """Count the pixels of images, in all and of each concept, bool ``[n, concepts, S, S]``."""
        self.pixels += masks[:, 0].numel()
        self.present += masks.sum(dim=(0, 2, 3)).cpu().numpy()

    def exceeding(self) -> tuple[Counts, Counts]:
        """Return how many pixels exceed each threshold, ``[units, thresholds]``, and how many of each concept do."""
        on = self.at_level[:, ::-1].cumsum(axis=1)[:, -2::-1]
        both = self.present_at_level[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return on, both


@dataclasses.dataclass
class ChanceOverlap:
    """Overlap of units with the label maps of other images: its moments over all permutations of these.

    With images i and j, ``A[i, j]`` pixels on in i and of the concept in j, and a random permutation P of n images,
    the overlap ``Σ A[i, P(i)]`` has the mean ``Σ A / n``, the variance ``Σ D² / (n - 1)`` and the third central moment
    ``n Σ D³ / ((n - 1) (n - 2))``, where D is A less its means of rows and columns and plus its mean (Hoeffding 1951).
    All three add up over blocks of images that are permuted within themselves.

    Attributes:
        mean, variance, third_moment: of the number of pixels, float64 ``[units, concepts]``.
    """

    mean: Array
    variance: Array
    third_moment: Array

    @classmethod
    def none(cls, n_units: int, n_concepts: int) -> ChanceOverlap:
        """Return the overlap of no images."""
        return cls(*(np.zeros((n_units, n_concepts)) for _ in dataclasses.fields(cls)))

    def add(
        self, levels: Tensor, masks: Tensor, chosen: NDArray[np.integer], units: slice = slice(None)
    ) -> tuple[Counts, Counts]:
        """Add a block of images, whose label maps are permuted among them.

        Args:
            levels: number of thresholds that each value exceeds, uint8 ``[n, units, S, S]``.
            masks: where each concept is, bool ``[n, concepts, S, S]``.
            chosen: index of the threshold ``[units, concepts]``.
            units: which units these are.

        Returns:
            Pixels where the units are on, and where the concept of the same image is too ``[units, concepts]``.
        """
        n = len(levels)
        by_unit = levels.transpose(0, 1).flatten(2)  # [units, n, pixels]
        at_level = _level_counts(by_unit.flatten(1).cpu().numpy(), N_LEVELS)
        above = at_level[:, ::-1].cumsum(axis=1)[:, ::-1] - at_level
        counts_on = np.take_along_axis(above, chosen, axis=1)
        thresholds = torch.from_numpy(np.asarray(chosen, np.uint8)).to(levels.device)
        both = np.zeros(chosen.shape, np.int64)
        mean, variance, third_moment = self.mean[units], self.variance[units], self.third_moment[units]
        for concept in range(masks.shape[1]):
            labels = masks[:, concept].flatten(1).float()
            if not labels.any():
                continue
            on = (by_unit > thresholds[:, concept, None, None]).float()
            with full_precision(on.device):
                pairs = (on @ labels.T).double()  # float32 counts pixels of an image exactly, bfloat16 does not
            both[:, concept] = pairs.diagonal(dim1=1, dim2=2).sum(dim=1).cpu().numpy()
            average = pairs.mean(dim=(1, 2), keepdim=True)
            mean[:, concept] += (n * average).flatten().cpu().numpy()
            if n > 1:
                deviation = pairs - pairs.mean(dim=1, keepdim=True) - pairs.mean(dim=2, keepdim=True) + average
                squares = deviation.square()
                variance[:, concept] += (squares.sum(dim=(1, 2)) / (n - 1)).cpu().numpy()
                if n > 2:
                    cubes = (squares * deviation).sum(dim=(1, 2))
                    third_moment[:, concept] += (cubes * n / ((n - 1) * (n - 2))).cpu().numpy()
        return counts_on, both


def _level_counts(levels: NDArray[np.uint8], n_levels: int) -> Counts:
    """Count each level of each unit: ``[units, pixels]`` => ``[units, n_levels]``."""
    return np.stack([np.bincount(row, minlength=n_levels) for row in levels])


def intersection_over_union(on: NDArray[np.number], present: NDArray[np.number], both: NDArray[np.number]) -> Array:
    """Return ``both / (on + present - both)``, NaN where both events never happen."""
    union = np.asarray(on + present - both, np.float64)
    return np.where(union > 0, both / np.where(union > 0, union, 1), np.nan)
