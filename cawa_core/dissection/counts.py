"""Exact counts of pixels where units are on and concepts present, and what they would be by chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = NDArray[np.int64]
Array = NDArray[np.float64]

IMAGES_PERMUTED = 32
"""Label maps are permuted among this many consecutive images, so that the work grows with their number."""


class JointCounts:
    """Number of pixels at each level of some units, in all and where each concept is.

    Attributes:
        pixels: number of pixels.
        at_level: int64 ``[units, levels]``.
        present_at_level: int64 ``[units, levels, concepts]``.
    """

    def __init__(self, n_units: int, n_thresholds: int, n_concepts: int) -> None:
        self.pixels = 0
        self.at_level = np.zeros((n_units, n_thresholds + 1), np.int64)
        self.present_at_level = np.zeros((n_units, n_thresholds + 1, n_concepts), np.int64)

    def add(self, levels: Tensor, masks: Tensor) -> None:
        """Count images.

        Args:
            levels: number of thresholds that each value exceeds, uint8 ``[n, units, S, S]``.
            masks: where each concept is, bool ``[n, concepts, S, S]``.
        """
        by_unit = levels.transpose(0, 1).flatten(1).cpu().numpy()
        self.pixels += by_unit.shape[1]
        self.at_level += self._counted(by_unit)
        for concept, mask in enumerate(masks.transpose(0, 1).flatten(1).cpu().numpy()):
            places = np.flatnonzero(mask)
            if len(places):
                self.present_at_level[:, :, concept] += self._counted(by_unit[:, places])

    def _counted(self, levels: NDArray[np.uint8]) -> Counts:
        """Count each level of each unit: ``[units, pixels]`` => ``[units, levels]``."""
        n_levels = self.at_level.shape[1]
        return np.stack([np.bincount(row, minlength=n_levels) for row in levels])

    @property
    def present(self) -> Counts:
        """Number of pixels of each concept ``[concepts]``."""
        return np.asarray(self.present_at_level[0].sum(axis=0))

    def exceeding(self) -> tuple[Counts, Counts]:
        """Return how many pixels exceed each threshold, ``[units, thresholds]``, and how many of each concept do."""
        on = self.at_level[:, ::-1].cumsum(axis=1)[:, -2::-1]
        both = self.present_at_level[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return on, both

    def at(self, chosen: NDArray[np.integer]) -> tuple[Counts, Counts]:
        """Return the pixels that exceed a threshold of each unit and concept, and of them those of the concept.

        Args:
            chosen: index of the threshold ``[units, concepts]``.

        Returns:
            Pixels where the unit is on, and where the concept is present too, ``[units, concepts]`` each.
        """
        on, both = self.exceeding()
        return np.take_along_axis(on, chosen, axis=1), np.take_along_axis(both, chosen[:, None], axis=1)[:, 0]


@dataclasses.dataclass
class ChanceOverlap:
    """Overlap of units with the label maps of other images: its mean and variance over all permutations of these.

    With images i and j, ``A[i, j]`` pixels on in i and of the concept in j, and a random permutation P of n images,
    the overlap ``Σ A[i, P(i)]`` has the mean ``Σ A / n`` and the variance ``Σ D² / (n - 1)``, where D is A less its
    means of rows and columns and plus its mean (Hoeffding 1951). Both add up over blocks of images that are permuted
    within themselves.

    Attributes:
        mean, variance: of the number of pixels, float64 ``[units, concepts]``.
    """

    mean: Array
    variance: Array

    @classmethod
    def none(cls, n_units: int, n_concepts: int) -> ChanceOverlap:
        """Return the overlap of no images."""
        return cls(np.zeros((n_units, n_concepts)), np.zeros((n_units, n_concepts)))

    def add(self, levels: Tensor, masks: Tensor, chosen: NDArray[np.integer]) -> None:
        """Add a block of images, whose label maps are permuted among them.

        Args:
            levels: number of thresholds that each value exceeds, uint8 ``[n, units, S, S]``.
            masks: where each concept is, bool ``[n, concepts, S, S]``.
            chosen: index of the threshold ``[units, concepts]``.
        """
        n = len(levels)
        by_unit = levels.transpose(0, 1).flatten(2)  # [units, n, pixels]
        thresholds = torch.from_numpy(np.asarray(chosen, np.uint8)).to(levels.device)
        for concept in range(masks.shape[1]):
            labels = masks[:, concept].flatten(1).float()
            if not labels.any():
                continue
            on = (by_unit > thresholds[:, concept, None, None]).float()
            pairs = (on @ labels.T).double()  # exact: a count of pixels is far below float32's 2**24
            mean = pairs.mean(dim=(1, 2), keepdim=True)
            self.mean[:, concept] += (n * mean).flatten().cpu().numpy()
            if n > 1:
                deviation = pairs - pairs.mean(dim=1, keepdim=True) - pairs.mean(dim=2, keepdim=True) + mean
                self.variance[:, concept] += (deviation.square().sum(dim=(1, 2)) / (n - 1)).cpu().numpy()


def intersection_over_union(on: NDArray[np.integer], present: NDArray[np.integer], both: NDArray[np.number]) -> Array:
    """Return ``both / (on + present - both)``, NaN where both events never happen."""
    union = np.asarray(on + present - both, np.float64)
    return np.where(union > 0, both / np.where(union > 0, union, 1), np.nan)
