"""Concepts in images between two classes, compared with both classes' images of the same latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.segmenters.base import Segmenter, concept_masks

Counts = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ConceptPixels:
    """Pixels that show each concept in images of one kind, ``[concepts]`` each, summed over latents.

    Attributes:
        pixels: pixels of these images.
        input_shared, reference_shared: pixels that show the concept in the input class's, or in the reference class's,
            images of the same latents, too.
    """

    pixels: Counts
    input_shared: Counts
    reference_shared: Counts


class ConceptCounter:
    """Counts the pixels of each concept on the first latents.

    Args:
        segmenter: segmenter of the images.
        limit: number of latents that count; further ones are ignored.
    """

    def __init__(self, segmenter: Segmenter, limit: int) -> None:
        self.segmenter = segmenter
        self.limit = limit
        self.n_latents = 0
        self.totals: dict[str, ConceptPixels] = {}

    def add(self, images: Mapping[str, Tensor]) -> None:
        """Count images of the next latents by kind, ``input`` and ``reference`` among them: ``[n, C, S, S]`` each."""
        left = self.limit - self.n_latents
        if left <= 0:
            return
        masks = {kind: concept_masks(self.segmenter, pictures[:left]) for kind, pictures in images.items()}
        self.n_latents += len(masks["input"])
        for kind, of_kind in masks.items():
            counts = ConceptPixels(
                pixels=_pixels(of_kind),
                input_shared=_pixels(of_kind & masks["input"]),
                reference_shared=_pixels(of_kind & masks["reference"]),
            )
            earlier = self.totals.get(kind)
            self.totals[kind] = counts if earlier is None else _sum(earlier, counts)


def _pixels(masks: Tensor) -> Counts:
    """Count the pixels of masks ``[n, concepts, S, S]`` by concept."""
    counts: Counts = masks.sum(dim=(0, 2, 3)).cpu().numpy()
    return counts


def _sum(first: ConceptPixels, second: ConceptPixels) -> ConceptPixels:
    return ConceptPixels(
        first.pixels + second.pixels,
        first.input_shared + second.input_shared,
        first.reference_shared + second.reference_shared,
    )
