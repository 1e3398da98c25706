"""Comparison of the overlap of segmented foregrounds with the reference, with and without awareness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.segmentation import SEGMENTATION, SEGMENTATION_TABLE
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import NEUTRAL, noise_words
from workflows.interface import Content


class SegmentationComparison(ClassComparison):
    """Comparison of the mean IoU of each class by number of clusters.

    The images of a class share the clusters that were fitted to them, so their IoU does not tell the noise of the mean:
    it has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("segmentation",)
    ANALYSIS = SEGMENTATION
    LABELS: ClassVar[Mapping[str, str]] = {"clusters": "clusters K"}

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the mean IoU of each class by number of clusters."""
        columns = ["class_id", "clusters", "weighted", "iou"]
        return mean_overlaps(manifest.rows(SEGMENTATION_TABLE.name, columns).to_pandas())

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        if not changes["classes"]:
            return "Neither audit has an IoU, because its generator has no reference foreground."
        return (
            "Mean IoU of the foreground with the reference: of all channels alike (plain), of channels weighted by "
            f"category awareness (weighted), and their difference (gained). {noise_words(changes)} {NEUTRAL}"
        )


def mean_overlaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU over latents of each class by number of clusters: plain, weighted and gained by awareness.

    Args:
        rows: columns ``class_id``, ``clusters``, ``weighted`` and ``iou`` of the table ``segmentation``.
    """
    known = rows.dropna()
    weighted = known.weighted.to_numpy(dtype=bool)
    key = ["class_id", "clusters"]
    plain = known[~weighted].astype({"iou": float}).groupby(key).iou.mean()
    means = pd.DataFrame({"plain": plain, "weighted": known[weighted].astype({"iou": float}).groupby(key).iou.mean()})
    means["gained"] = means.weighted - means.plain
    values = means.reset_index().melt(key, var_name="measure", value_name="value")
    return values.assign(stderr=float("nan"), draws=float("nan"))
