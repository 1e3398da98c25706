"""Dissection: thresholds of all units, and their overlap with concepts in generated images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.annotations import Annotations
from cawa_core.dissection.activations import enlarged, value_of
from cawa_core.dissection.counts import (
    IMAGES_PERMUTED,
    ChanceOverlap,
    Counts,
    JointCounts,
    intersection_over_union,
)
from cawa_core.dissection.thresholds import SHARES, LevelTable, StepHistogram, information_quality_ratio
from cawa_core.generators.base import Generator
from cawa_core.segmenters.base import Segmenter, concept_masks

Rule = Literal["information", "quantile"]
PUBLISHED_SHARE = 0.005
"""Share of the pixels above the threshold of a unit by the rule ``quantile`` (Bau et al. 2018)."""
MOST_VALUES = 2**23
"""Enlarged features that are held at once, 32 MB."""
Progress = Callable[[int], None]
Labels = Segmenter | Annotations
"""Source of label maps: a segmenter labels any images, annotations only those that they belong to."""


@dataclasses.dataclass(frozen=True)
class SiteThresholds:
    """Thresholds of the units of a site.

    Attributes:
        site: index of the site.
        candidates: thresholds as steps, ascending ``[units, thresholds]``.
        chosen: index of the threshold of each unit for each concept ``[units, concepts]``.
        iou: overlap of each unit with each concept in the sample that thresholds are chosen on ``[units, concepts]``;
            NaN if nothing labels it.
    """

    site: int
    candidates: NDArray[np.int32]
    chosen: NDArray[np.int64]
    iou: NDArray[np.float64]

    @cached_property
    def table(self) -> LevelTable:
        """The table that places values among the thresholds."""
        return LevelTable(self.candidates)

    @property
    def values(self) -> NDArray[np.float32]:
        """Threshold of each unit for each concept ``[units, concepts]``."""
        return value_of(np.take_along_axis(self.candidates, self.chosen, axis=1))


@dataclasses.dataclass(frozen=True)
class UnitOverlaps:
    """Pixels where the units of a site are on and concepts present, in some images.

    Attributes:
        site: index of the site.
        pixels: number of pixels.
        present: pixels of each concept ``[concepts]``.
        on, both: pixels where a unit is on by its threshold for a concept, and where the concept is too ``[units,
            concepts]``.
        chance: ``both`` with the label maps of other images.
    """

    site: int
    pixels: int
    present: Counts
    on: Counts
    both: Counts
    chance: ChanceOverlap


@torch.inference_mode()
def choose_thresholds(
    generator: Generator,
    segmenter: Segmenter,
    z: Tensor,
    class_ids: Tensor,
    sites: Sequence[int],
    *,
    rule: Rule = "information",
    batch_size: int = IMAGES_PERMUTED,
    progress: Progress | None = None,
) -> list[SiteThresholds]:
    """Choose the threshold of each unit for each concept on a sample that serves for nothing else.

    Args:
        generator: generator of the images.
        segmenter: what labels their pixels.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of the sample.
        sites: sites whose units are dissected, ascending.
        rule: ``information``: the candidate with the highest information quality ratio, for each concept;
            ``quantile``: the one that 0.5% of the pixels exceed, the same for all concepts, as published.
        batch_size: images per forward pass, at most ``IMAGES_PERMUTED``.
        progress: called with the number of images of each pass; there are two.
    """
    blocks = _Blocks(generator, z, class_ids, sites, batch_size, progress)
    candidates = _candidates(blocks)
    tables = [LevelTable(rows) for rows in candidates]
    counts = [JointCounts(len(rows), len(SHARES), len(segmenter.concepts)) for rows in candidates]
    for block in blocks:
        masks = block.masks(segmenter)
        for place, units, features in block.features():
            counts[place].add(tables[place].levels(features, units), masks, units)
        for count in counts:
            count.add_pixels(masks)
    return [_chosen(site, rows, count, rule) for site, rows, count in zip(sites, candidates, counts, strict=True)]


@torch.inference_mode()
def quantile_thresholds(
    generator: Generator,
    n_concepts: int,
    z: Tensor,
    class_ids: Tensor,
    sites: Sequence[int],
    *,
    batch_size: int = IMAGES_PERMUTED,
    progress: Progress | None = None,
) -> list[SiteThresholds]:
    """Choose the thresholds of :func:`choose_thresholds` by the rule ``quantile``, which needs no labels.

    Args:
        generator: generator of the images.
        n_concepts: number of concepts; all have the same thresholds.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of a sample that serves for nothing else.
        sites: sites whose units are dissected, ascending.
        batch_size: images per forward pass, at most ``IMAGES_PERMUTED``.
        progress: called with the number of images of each block.
    """
    candidates = _candidates(_Blocks(generator, z, class_ids, sites, batch_size, progress))
    shapes = [(len(rows), n_concepts) for rows in candidates]
    return [
        SiteThresholds(site, rows, _published(shape), np.full(shape, np.nan))
        for site, rows, shape in zip(sites, candidates, shapes, strict=True)
    ]


def _candidates(blocks: _Blocks) -> list[NDArray[np.int32]]:
    """Return the candidate thresholds of the units of each site: ``[units, thresholds]``."""
    histograms = [StepHistogram(blocks.generator.sites[site].channels) for site in blocks.sites]
    for block in blocks:
        for place, units, features in block.features():
            histograms[place].add(features, units)
    return [histogram.candidates() for histogram in histograms]


def _published(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the index of the threshold that 0.5% of the pixels exceed, for ``[units, concepts]``."""
    return np.full(shape, int(np.argmin(np.abs(SHARES[::-1] - PUBLISHED_SHARE))), np.int64)


def _chosen(site: int, candidates: NDArray[np.int32], counts: JointCounts, rule: Rule) -> SiteThresholds:
    """Choose the thresholds of a site, and return them with the overlaps that they give."""
    on, both = counts.exceeding()
    if rule == "quantile":
        chosen = _published((len(candidates), len(counts.present)))
    else:
        ratio = information_quality_ratio(on[:, :, None], counts.present, both, counts.pixels)
        chosen = ratio.argmax(axis=1)
    on_chosen = np.take_along_axis(on, chosen, axis=1)
    both_chosen = np.take_along_axis(both, chosen[:, None], axis=1)[:, 0]
    iou = intersection_over_union(on_chosen, np.broadcast_to(counts.present, chosen.shape), both_chosen)
    return SiteThresholds(site, candidates, np.asarray(chosen, np.int64), iou)


@torch.inference_mode()
def unit_overlaps(
    generator: Generator,
    labels: Labels,
    z: Tensor,
    class_ids: Tensor,
    thresholds: Sequence[SiteThresholds],
    *,
    batch_size: int = IMAGES_PERMUTED,
    progress: Progress | None = None,
) -> list[UnitOverlaps]:
    """Count where units are on and concepts present in images, and what the overlap is by chance.

    Args:
        generator: generator of the images.
        labels: source of their label maps; annotations must be those of these images.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of the images; label maps are permuted among
            consecutive ones, so these should be of one class.
        thresholds: thresholds of the units, by site.
        batch_size: images per forward pass, at most ``IMAGES_PERMUTED``.
        progress: called with the number of images of each block.
    """
    n_concepts = len(labels.concepts)
    sites = [site.site for site in thresholds]
    on = [np.zeros(site.chosen.shape, np.int64) for site in thresholds]
    both = [np.zeros(site.chosen.shape, np.int64) for site in thresholds]
    chances = [ChanceOverlap.none(len(site.chosen), n_concepts) for site in thresholds]
    present = np.zeros(n_concepts, np.int64)
    pixels = 0
    for block in _Blocks(generator, z, class_ids, sites, batch_size, progress):
        masks = block.masks(labels)
        present += masks.sum(dim=(0, 2, 3)).cpu().numpy()
        pixels += masks[:, 0].numel()
        for place, units, features in block.features():
            levels = thresholds[place].table.levels(features, units)
            part_on, part_both = chances[place].add(levels, masks, thresholds[place].chosen[units], units)
            on[place][units] += part_on
            both[place][units] += part_both
    return [
        UnitOverlaps(site, pixels, present, on[place], both[place], chances[place]) for place, site in enumerate(sites)
    ]


@dataclasses.dataclass(frozen=True)
class _Block:
    """Batches of latents and classes of at most ``IMAGES_PERMUTED`` images, which are ``images`` of the sample."""

    generator: Generator
    batches: Sequence[tuple[Tensor, Tensor]]
    sites: Sequence[int]
    images: slice

    def masks(self, labels: Labels) -> Tensor:
        """Return where the images show each concept: bool ``[n, concepts, S, S]``."""
        if isinstance(labels, Annotations):
            return labels.masks(self.images)
        return torch.cat([concept_masks(labels, self.generator(z, class_ids)) for z, class_ids in self.batches])

    def features(self) -> Iterator[tuple[int, slice, Tensor]]:
        """Yield the place of a site, some of its units, and their features on the grid of the images.

        One site's features are held at a time, because those of all sites take gigabytes.
        """
        side = self.generator.image_size
        states = [self.generator.run_to(self.sites[0], z, class_ids) for z, class_ids in self.batches]
        for place, site in enumerate(self.sites):
            states = [self.generator.advance(state, site) for state in states]
            features = torch.cat([state.features for state in states])
            at_once = max(1, MOST_VALUES // (len(features) * side**2))
            for first in range(0, features.shape[1], at_once):
                units = slice(first, min(first + at_once, features.shape[1]))
                yield place, units, enlarged(features[:, units], side)


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Blocks of the same images whatever the batch size, which can be read several times."""

    generator: Generator
    z: Tensor
    class_ids: Tensor
    sites: Sequence[int]
    batch_size: int
    progress: Progress | None

    def __iter__(self) -> Iterator[_Block]:
        for first in range(0, len(self.z), IMAGES_PERMUTED):
            images = slice(first, first + IMAGES_PERMUTED)
            z, class_ids = self.z[images], self.class_ids[images]
            batches = zip(z.split(self.batch_size), class_ids.split(self.batch_size), strict=True)
            yield _Block(self.generator, list(batches), self.sites, images)
            if self.progress:
                self.progress(len(z))
