"""Generated pictures segmented by clustering channel activations, with and without awareness (paper, Fig. 8)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import class_ids_of
from cawa_core.rendering.grids import labels_to_png
from cawa_core.rendering.pixels import to_png
from cawa_core.segmentation.clustering import (
    Segmentation,
    bright_foreground,
    check_clusters,
    intersection_over_union,
    label_agreement,
    matched_labels,
    segmentations,
)
from cawa_core.segmentation.pixel_features import pictures_held, pixel_features
from cawa_core.segmenters.base import label_maps
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.segmentation import LABELLED, SEGMENTATION_TABLE, SegmentationOptions
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

ON_BLACK = ("fashion-biggan",)
"""Generators of bright objects on black, for which Otsu's threshold gives a reference foreground."""
PICTURES = 4
"""Latents per class whose picture and label maps are recorded."""
FEATURES_OF_A_PICTURE = 4
"""Feature computations per picture: with and without weights, once to fit clusters and once to label."""
LARGEST_SHARE, LONGEST_SECONDS = 3 / 8, 20.0
"""Largest share of a class's latents, and approximate limit of seconds, that a plan times."""
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
        agreement: adjusted Rand index with the segmenter's labels, of the first pictures ``[m]``; empty if there is no
            segmenter, or one whose concepts overlap.
        colours: colour index of each label ``[256]``. The weighted map with most clusters is the reference; a label of
            another map takes the colour of the reference part that it shares most pixels with.
    """

    class_id: int
    images: Tensor
    segmentations: Mapping[Key, Segmentation]
    overlap: Mapping[Key, NDArray[np.float64]]
    agreement: Mapping[Key, NDArray[np.float64]]
    colours: Mapping[Key, NDArray[np.uint8]]


class SegmentationWork(Work[SegmentationOptions]):
    """Computation of the table ``segmentation``."""

    def check(self, lab: Lab, options: SegmentationOptions) -> None:
        """Check that the generator has the sites, and that there are enough pixels to cluster."""
        if options.segmentation_sites:
            lab.generator.require_sites(options.segmentation_sites)
        check_clusters(options.segmentation_clusters, options.segmentation_fitted_latents * lab.generator.image_size**2)

    def run(self, lab: Lab, options: SegmentationOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes."""
        sites = sites_of(lab, options.segmentation_sites)
        rows: list[dict[str, Any]] = []
        for class_id in shard.class_ids:
            result = segmented(lab, class_id, sites, options.segmentation_clusters, options.segmentation_fitted_latents)
            rows += _rows(result, sites)
        return Output({SEGMENTATION_TABLE.name: rows_of(SEGMENTATION_TABLE.name, rows)})

    def cost(self, lab: Lab, options: SegmentationOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: pictures, four passes over their channels, and about as long again for clustering.

        There is a row per latent, number of clusters, and with or without weights; the first latents have pictures of
        themselves and of their label maps.
        """
        maps = 2 * len(options.segmentation_clusters)
        pictures = (1 + maps) * min(PICTURES, options.segmentation_fitted_latents)
        return Cost(10.0 * options.segmentation_fitted_latents, maps * options.segmentation_fitted_latents, pictures)

    def pace(self, lab: Lab, options: SegmentationOptions, image: float, seconds: Stopwatch) -> Pace | None:
        """Time one class, because passes do not cover clustering: all of it on some latents, features for the rest.

        Several classes are timed, because clusters converge sooner in some than in others.
        """
        if (
            not lab.is_affine
            or self.cost(lab, options, 0, ()).passes / options.segmentation_fitted_latents * image > LONGEST_SECONDS
        ):
            return None
        generator = lab.generator
        sites = sites_of(lab, options.segmentation_sites)
        fewest = math.ceil(max(options.segmentation_clusters) / generator.image_size**2)
        classes = sorted({lab.class_ids[place] for place in (0, len(lab.class_ids) // 2, -1)})
        z = lab.latents(classes[0], min(lab.batch_size, pictures_held(generator, sites)))

        def pixels() -> None:
            features = pixel_features(generator, z, class_ids_of(classes[0], z), sites, None, lab.spec.seed)
            for _ in features.strips():
                pass

        per_latent = image + FEATURES_OF_A_PICTURE * seconds(pixels, True) / len(z)
        affordable = min(
            LARGEST_SHARE * options.segmentation_fitted_latents, LONGEST_SECONDS / (per_latent * len(classes))
        )
        latents = min(options.segmentation_fitted_latents, max(fewest, math.ceil(affordable)))
        if latents * per_latent * len(classes) > 2 * LONGEST_SECONDS:
            return None

        def class_seconds(class_id: int) -> float:
            return seconds(lambda: segmented(lab, class_id, sites, options.segmentation_clusters, latents), False)

        mean = sum(class_seconds(class_id) for class_id in classes) / len(classes)
        return {"class": mean + (options.segmentation_fitted_latents - latents) * per_latent}

    def seconds(self, lab: Lab, options: SegmentationOptions, shard: Shard, pace: Pace) -> float:  # noqa: ARG002
        """Predict seconds from those of a class."""
        return len(shard.class_ids) * pace["class"]


def sites_of(lab: Lab, given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the given sites, or by default the last half, as in the paper's Fig. 8."""
    n_sites = len(lab.generator.sites)
    return given or tuple(range(n_sites // 2, n_sites))


def segmented(
    lab: Lab,
    class_id: int,
    sites: Sequence[int],
    clusters: Sequence[int],
    latents: int,
    progress: Callable[[int], None] | None = None,
) -> SegmentedClass:
    """Segment the first latents of a class for each number of clusters, without and with weights.

    Args:
        lab: lab with the generator.
        class_id: class of the pictures.
        sites: sites whose channels are clustered.
        clusters: numbers of clusters K.
        latents: number of pictures.
        progress: called with the number of pictures processed; ``PASSES`` times ``latents`` in total.
    """
    generator = lab.generator
    z = lab.latents(class_id, latents)
    with torch.inference_mode():
        batches = [generator(rows, class_ids_of(class_id, rows)).cpu() for rows in z.split(lab.batch_size)]
    images = torch.cat(batches)
    aware = {site: _finite(lab.class_awareness((class_id,), site).category_awareness[0]) for site in sites}
    by_key: dict[Key, Segmentation] = {}
    for weighted in (False, True):
        weights = aware if weighted else None
        by_number = segmentations(
            generator,
            z,
            class_id,
            sites,
            clusters,
            weights,
            seed=lab.spec.seed,
            batch_size=lab.batch_size,
            progress=progress,
        )
        by_key |= {(weighted, number): segmentation for number, segmentation in by_number.items()}
    overlap = {}
    if generator.name in ON_BLACK:
        mask = bright_foreground(images)
        overlap = {key: intersection_over_union(part.foreground, mask) for key, part in by_key.items()}
    reference = by_key[True, max(clusters)].labels
    colours = {key: matched_labels(part.labels, reference) for key, part in by_key.items()}
    return SegmentedClass(class_id, images, by_key, overlap, _agreement(lab, images[:LABELLED], by_key), colours)


@torch.inference_mode()
def _agreement(lab: Lab, images: Tensor, by_key: Mapping[Key, Segmentation]) -> dict[Key, NDArray[np.float64]]:
    """Compare the clusters of the first pictures with the labels of their pixels, if the lab has a segmenter."""
    if lab.labeller is None:
        return {}
    batches = [label_maps(lab.segmenter, rows.to(lab.generator.device)) for rows in images.split(lab.batch_size)]
    labels = [batch.cpu() for batch in batches if batch is not None]
    if len(labels) < len(batches):
        return {}
    of_pixels = torch.cat(labels).numpy()
    return {key: label_agreement(part.labels[: len(images)], of_pixels) for key, part in by_key.items()}


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
            "label_agreement": _known(result.agreement.get((weighted, clusters)), index),
            "n_background": segmentation.n_background,
            "sites": list(sites),
            "n_fitted": len(result.images),
            "png": to_png(result.images[index]) if index < PICTURES and (weighted, clusters) == first else None,
            "labels_png": labels_to_png(labels, result.colours[weighted, clusters]) if index < PICTURES else None,
        }
        for (weighted, clusters), segmentation in result.segmentations.items()
        for index, labels in enumerate(segmentation.labels)
    ]


def _known(values: NDArray[np.float64] | None, index: int) -> float | None:
    """Return the value of a picture; None if there is none."""
    return None if values is None or index >= len(values) else float(values[index])
