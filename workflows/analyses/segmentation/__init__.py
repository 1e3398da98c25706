"""Generated pictures segmented by clustering channel activations (paper, Sec. 5.3, Fig. 8)."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I16, I32, Table
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class SegmentationOptions:
    """Options of the analysis ``segmentation``."""

    segmentation_sites: tuple[int, ...] = option(
        (), "Sites whose channels are clustered; by default the last half of the sites."
    )
    segmentation_clusters: tuple[int, ...] = option((3, 5), "Numbers K of clusters; each is fitted separately.")
    segmentation_fitted_latents: Count = option(64, "Images per class that clusters are fitted to and scored on.")


LABELLED = 32
"""Latents per class whose clusters are compared with labels; a segmenter may take as long as the generator."""

SEGMENTATION_TABLE = Table(
    "segmentation",
    ("class_id", "clusters", "weighted", "index"),
    {
        **CLASS,
        "clusters": (I32, "number of clusters K for the pixels of all images of the class"),
        "weighted": (pa.bool_(), "whether channels were multiplied by their category awareness"),
        "index": (I32, "index of the latent"),
        "iou": (
            F32,
            "IoU of the foreground with the pixels above Otsu's threshold; null unless objects are on black",
        ),
        "label_agreement": (
            F32,
            "adjusted Rand index of the clusters and the segmenter's labels, where a pixel without a concept counts as "
            f"a label of its own; null without a segmenter, if its concepts overlap, and beyond the first {LABELLED} "
            "latents",
        ),
        "n_background": (I32, "number of labels, starting at 0, that belong to the background"),
        "sites": (pa.list_(I16), "sites whose channels were clustered"),
        "n_fitted": (I32, "number of images that the clusters were fitted to"),
        "png": (pa.binary(), "the image, once for each of the first few latents; else null"),
        "labels_png": (
            pa.binary(),
            "labels as palette indices, numbered from the cluster that lies most at the border, so that labels below "
            "n_background are background; in the palettes of a class's maps, parts that share most pixels have the "
            "same colour, whatever their labels; null beyond the first few latents",
        ),
    },
)

SEGMENTATION = Analysis(
    "segmentation",
    "Segmentation",
    options=SegmentationOptions,
    tables=(SEGMENTATION_TABLE,),
    uses=("segmenter",),
    work="workflows.analyses.segmentation.work:SegmentationWork",
    results="workflows.analyses.segmentation.results:SegmentationResults",
    comparison="workflows.analyses.segmentation.comparison:SegmentationComparison",
    may_differ=("segmenter",),
    command="workflows.analyses.segmentation.command:segment",
)
