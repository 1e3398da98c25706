"""Label maps as categories, which a map of the features predicts: nothing first, then the concepts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.annotations import Annotations
from cawa_core.labels import NOTHING
from cawa_core.segmenters.base import Segmenter, concept_masks

Labels = Segmenter | Annotations
"""Source of label maps: a segmenter labels any images, annotations only those that they belong to."""


def categories_of(concepts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the categories: ``nothing``, then the concepts."""
    return (NOTHING, *concepts)


def category_maps(masks: Tensor) -> Tensor:
    """Return the category of each pixel.

    A pixel that shows several concepts belongs to the one that covers least of its image, as a door does on a wall.

    Args:
        masks: where images show each concept, bool ``[n, concepts, S, S]``.

    Returns:
        int64 ``[n, S, S]``: 0 for nothing, k + 1 for concept k.
    """
    areas = masks.flatten(2).sum(dim=2)
    rank = areas.argsort(dim=1, stable=True).argsort(dim=1)  # the smallest area has rank 0
    n_concepts = masks.shape[1]
    priority = torch.where(masks, n_concepts - rank[:, :, None, None], 0)
    highest, concept = priority.max(dim=1)
    return torch.where(highest > 0, concept + 1, 0)


def category_maps_of(segmenter: Segmenter, images: Tensor) -> Tensor:
    """Return the category of each pixel of images ``[n, C, S, S]`` by a segmenter: int64 ``[n, S, S]``."""
    return category_maps(concept_masks(segmenter, images))


def frequencies(maps: Tensor, n_categories: int) -> NDArray[np.int64]:
    """Count the pixels of each category in maps ``[n, S, S]``: ``[n_categories]``."""
    counts = torch.bincount(maps.flatten(), minlength=n_categories)
    return np.asarray(counts.cpu().numpy(), np.int64)
