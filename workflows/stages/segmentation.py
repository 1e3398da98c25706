"""Pixels of generated pictures clustered by what channels do there, with and without awareness (paper, Fig. 8)."""

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
"""Generators of bright objects on black, where Otsu's threshold gives a mask to compare with."""
PICTURES = 4
"""Latents whose picture and label maps are kept."""
PASSES = 4
"""Over the pictures of a class: to fit and to label, without and with weights."""
Key = tuple[bool, int]
"""Whether channels are weighted by awareness, and the number of clusters."""


@dataclasses.dataclass(frozen=True)
class SegmentedClass:
    """Some pictures of a class and their parts.

    Attributes:
        class_id: which.
        images: ``[n, C, H, W]`` in [-1, 1].
        found: label maps without and with weights, for each number of clusters.
        overlap: foreground IoU with Otsu's ``[n]``; empty where there is no such mask.
        colours: by map, the number of each label's colour ``[256]``: itself where channels are weighted and clusters
            most; else that of the part there with which it has most pixels in common.
    """

    class_id: int
    images: Tensor
    found: Mapping[Key, Segmentation]
    overlap: Mapping[Key, NDArray[np.float64]]
    colours: Mapping[Key, NDArray[np.uint8]]


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of the ``segmentation`` table."""
    sites = sites_of(bench, bench.spec.segment_sites)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        rows += _rows(segmented(bench, class_id, sites, bench.spec.segment_clusters, bench.spec.segment_latents), sites)
    return {"segmentation": rows_of("segmentation", rows)}


def sites_of(bench: Workbench, given: tuple[int, ...]) -> tuple[int, ...]:
    """Those given, else the last half, as in the paper's Fig. 8."""
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
    """Both ways, for each number of clusters, on the first latents of a class.

    Args:
        bench: of the generator.
        class_id: of the pictures.
        sites: whose channels are clustered.
        clusters: numbers of clusters K.
        latents: how many pictures.
        progress: told how many pictures were gone through, pass by pass: ``PASSES`` times all of them.
    """
    generator, z = bench.generator, bench.latents(class_id, latents)
    with torch.inference_mode():
        batches = [generator(rows, class_ids_of(class_id, rows)).cpu() for rows in z.split(bench.batch_size)]
    images = torch.cat(batches)
    aware = {site: _known(class_awareness(bench, (class_id,), site).category_awareness[0]) for site in sites}
    found: dict[Key, Segmentation] = {}
    for weighted in (False, True):
        weights = aware if weighted else None
        made = segmentations(
            *(generator, z, class_id, sites, clusters, weights),
            seed=bench.spec.seed,
            batch_size=bench.batch_size,
            progress=progress,
        )
        found |= {(weighted, number): one for number, one in made.items()}
    overlap = {}
    if generator.name in ON_BLACK:
        mask = bright_foreground(images)
        overlap = {key: intersection_over_union(one.foreground, mask) for key, one in found.items()}
    reference = found[True, max(clusters)].labels
    colours = {key: matched_labels(one.labels, reference) for key, one in found.items()}
    return SegmentedClass(class_id, images, found, overlap, colours)


def _known(awareness: NDArray[np.float64]) -> NDArray[np.float64]:
    """With 0 for what is unknown or infinite."""
    return np.nan_to_num(awareness, nan=0, posinf=0, neginf=0)


def _rows(one: SegmentedClass, sites: Sequence[int]) -> list[dict[str, Any]]:
    first = next(iter(one.found))
    return [
        {
            "class_id": one.class_id,
            "clusters": clusters,
            "weighted": weighted,
            "index": index,
            "iou": one.overlap[weighted, clusters][index] if one.overlap else None,
            "n_background": segmentation.n_background,
            "sites": list(sites),
            "n_fitted": len(one.images),
            "png": to_png(one.images[index]) if index < PICTURES and (weighted, clusters) == first else None,
            "labels_png": labels_to_png(labels, one.colours[weighted, clusters]) if index < PICTURES else None,
        }
        for (weighted, clusters), segmentation in one.found.items()
        for index, labels in enumerate(segmentation.labels)
    ]


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """The pictures, and their channels twice with and twice without weights; clusters take about as long."""
    return 10.0 * bench.spec.segment_latents


def rows(bench: Workbench) -> int:
    """One a latent, number of clusters and way."""
    return 2 * len(bench.spec.segment_clusters) * bench.spec.segment_latents


def pictures(bench: Workbench) -> int:
    """Of the first few latents the picture, and label maps of each number of clusters and way."""
    return (1 + 2 * len(bench.spec.segment_clusters)) * min(PICTURES, bench.spec.segment_latents)


SEGMENTATION = Stage(
    "segmentation", by_site=False, classes_per_shard=1, passes=passes, process=process, rows=rows, pictures=pictures
)
