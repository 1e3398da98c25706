"""Generated pictures segmented by clustering channel activations, with and without awareness (paper, Fig. 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.applications.segmentation import (
    Segmentation,
    bright_foreground,
    intersection_over_union,
    matched_labels,
    segmentations,
)
from cawa_core.generators.base import class_ids_of
from cawa_core.rendering.grids import labels_to_png, to_png
from cawa_core.tables import Rows, rows_of
from workflows.shards import Shard
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.workbench import Workbench

ON_BLACK = ("fashion-biggan",)
"""Generators of bright objects on black, for which Otsu's threshold gives a reference foreground."""
PICTURES = 4
"""Latents per class whose picture and label maps are recorded."""
PASSES = 4
"""Passes over the pictures of a class: fit and label, each without and with weights."""
Key = tuple[bool, int]
"""Whether channels are weighted by awareness, and the number of clusters."""


@dataclasses.dataclass(frozen=True)
class SegmentedClass:
    """Pictures of a class and their segmentations.

    Attributes:
        class_id: class of the pictures.
        images: ``[n, C, H, W]`` in [-1, 1].
        segmentations: segmentations without and with weights, for each number of clusters.
        overlap: IoU of the foreground with Otsu's ``[n]``; empty if there is no such foreground.
        colours: colour index of each label ``[256]``. The weighted map with most clusters is the reference; a label of
            another map takes the colour of the reference part that it shares most pixels with.
    """

    class_id: int
    images: Tensor
    segmentations: Mapping[Key, Segmentation]
    overlap: Mapping[Key, NDArray[np.float64]]
    colours: Mapping[Key, NDArray[np.uint8]]


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of the ``segmentation`` table."""
    sites = sites_of(bench, bench.spec.segment_sites)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        rows += _rows(segmented(bench, class_id, sites, bench.spec.segment_clusters, bench.spec.segment_latents), sites)
    return {"segmentation": rows_of("segmentation", rows)}


def sites_of(bench: Workbench, given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the given sites, or by default the last half, as in the paper's Fig. 8."""
    n_sites = len(bench.generator.sites)
    return given or tuple(range(n_sites // 2, n_sites))


def segmented(
    bench: Workbench,
    class_id: int,
    sites: Sequence[int],
    clusters: Sequence[int],
    latents: int,
    progress: Callable[[int], None] | None = None,
) -> SegmentedClass:
    """Segment the first latents of a class for each number of clusters, without and with weights.

    Args:
        bench: workbench with the generator.
        class_id: class of the pictures.
        sites: sites whose channels are clustered.
        clusters: numbers of clusters K.
        latents: number of pictures.
        progress: called with the number of pictures processed; ``PASSES`` times ``latents`` in total.
    """
    generator = bench.generator
    z = bench.latents(class_id, latents)
    with torch.inference_mode():
        batches = [generator(rows, class_ids_of(class_id, rows)).cpu() for rows in z.split(bench.batch_size)]
    images = torch.cat(batches)
    aware = {site: _finite(class_awareness(bench, (class_id,), site).category_awareness[0]) for site in sites}
    label_maps: dict[Key, Segmentation] = {}
    for weighted in (False, True):
        weights = aware if weighted else None
        by_number = segmentations(
            generator,
            z,
            class_id,
            sites,
            clusters,
            weights,
            seed=bench.spec.seed,
            batch_size=bench.batch_size,
            progress=progress,
        )
        label_maps |= {(weighted, number): segmentation for number, segmentation in by_number.items()}
    overlap = {}
    if generator.name in ON_BLACK:
        mask = bright_foreground(images)
        overlap = {key: intersection_over_union(part.foreground, mask) for key, part in label_maps.items()}
    reference = label_maps[True, max(clusters)].labels
    colours = {key: matched_labels(part.labels, reference) for key, part in label_maps.items()}
    return SegmentedClass(class_id, images, label_maps, overlap, colours)


def _finite(awareness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace unknown and infinite awareness by 0."""
    return np.nan_to_num(awareness, nan=0, posinf=0, neginf=0)


def _rows(result: SegmentedClass, sites: Sequence[int]) -> list[dict[str, Any]]:
    first = next(iter(result.segmentations))
    return [
        {
            "class_id": result.class_id,
            "clusters": clusters,
            "weighted": weighted,
            "index": index,
            "iou": result.overlap[weighted, clusters][index] if result.overlap else None,
            "n_background": segmentation.n_background,
            "sites": list(sites),
            "n_fitted": len(result.images),
            "png": to_png(result.images[index]) if index < PICTURES and (weighted, clusters) == first else None,
            "labels_png": labels_to_png(labels, result.colours[weighted, clusters]) if index < PICTURES else None,
        }
        for (weighted, clusters), segmentation in result.segmentations.items()
        for index, labels in enumerate(segmentation.labels)
    ]


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Estimate the work: the pictures, four passes over their channels, and about as long again for clustering."""
    return 10.0 * bench.spec.segment_latents


def rows(bench: Workbench) -> int:
    """Count the rows of a class: one per latent, number of clusters, and with or without weights."""
    return 2 * len(bench.spec.segment_clusters) * bench.spec.segment_latents


def pictures(bench: Workbench) -> int:
    """Count the pictures of a class: for each of the first latents, the picture itself and its label maps."""
    return (1 + 2 * len(bench.spec.segment_clusters)) * min(PICTURES, bench.spec.segment_latents)


SEGMENTATION = Stage(
    "segmentation", by_site=False, classes_per_shard=1, passes=passes, process=process, rows=rows, pictures=pictures
)
