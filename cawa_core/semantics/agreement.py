"""Agreement of predicted and true categories: counts per label, and the mean IoU of the paper and the usual one."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Pixels of each label in some images, predicted and true.

    Attributes:
        predicted, true, both: pixels in all images, int64 ``[categories]``.
        iou_sum: sum of the IoU of each image that shows the label or is predicted to, float64 ``[categories]``.
        n_images: number of these images, int64 ``[categories]``.
    """

    predicted: Counts
    true: Counts
    both: Counts
    iou_sum: Array
    n_images: Counts

    @classmethod
    def of(cls, predicted: Tensor, true: Tensor, n_categories: int) -> LabelCounts:
        """Count the pixels of maps ``[n, S, S]`` with values in 0..n_categories - 1."""
        by_image = [_per_image(maps, n_categories) for maps in (predicted, true)]
        both = _per_image(torch.where(predicted == true, true, n_categories), n_categories + 1)[:, :-1]
        union = by_image[0] + by_image[1] - both
        iou = both / np.maximum(union, 1)
        predicted_pixels, true_pixels = (counts.sum(axis=0) for counts in by_image)
        return cls(predicted_pixels, true_pixels, both.sum(axis=0), iou.sum(axis=0), (union > 0).sum(axis=0))

    def __add__(self, other: LabelCounts) -> LabelCounts:
        fields = [field.name for field in dataclasses.fields(self)]
        return LabelCounts(*(getattr(self, name) + getattr(other, name) for name in fields))


def _per_image(maps: Tensor, n_categories: int) -> Counts:
    """Count the pixels of each category in each map: ``[n, categories]``."""
    flat = maps.flatten(1).cpu().numpy()
    return np.stack([np.bincount(row, minlength=n_categories) for row in flat]).astype(np.int64)


def iou_of_set(counts: LabelCounts) -> Array:
    """Return the IoU of each label over the whole set; NaN for a label that is neither there nor predicted."""
    union = counts.predicted + counts.true - counts.both
    return np.where(union > 0, counts.both / np.maximum(union, 1), np.nan)


def iou_by_image(counts: LabelCounts) -> Array:
    """Return the mean IoU of each label over the images that show it or are predicted to; NaN without any."""
    return np.where(counts.n_images > 0, counts.iou_sum / np.maximum(counts.n_images, 1), np.nan)


def mean_iou(iou: Array) -> float:
    """Return the mean over labels but ``nothing``, which is the first; NaN if no label is there."""
    known = iou[1:][np.isfinite(iou[1:])]
    return float(known.mean()) if len(known) else float("nan")
