"""Comparison of the overlap of segmented foregrounds with the reference, with and without awareness."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cawa_core.rendering.sections import Section
from workflows.analyses.segmentation import SEGMENTATION, SEGMENTATION_TABLE
from workflows.compare.class_values import (
    NEUTRAL,
    ClassValues,
    has_moved,
    noise_words,
    value_changes,
    value_markdown,
    value_tables,
)
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions

LABELS = {"clusters": "clusters K"}


class SegmentationComparison(Comparison[NoOptions]):
    """Comparison of the mean IoU of each class by number of clusters.

    The images of a class share the clusters that were fitted to them, so their IoU does not tell the noise of the mean:
    it has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("segmentation",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the IoU (:func:`~workflows.compare.class_values.value_changes`)."""
        columns = ["class_id", "clusters", "weighted", "iou"]
        base, new = (
            mean_overlaps(audit.manifest.rows(SEGMENTATION_TABLE.name, columns).to_pandas())
            for audit in (pair.base, pair.new)
        )
        return {"segmentation": value_changes(ClassValues(base, new, tuple(LABELS)), pair.class_names, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any mean IoU differs."""
        return has_moved(content["segmentation"])

    def sections(self, content: Content) -> list[Section]:
        """Show the mean IoU over classes and of each class."""
        changes = content["segmentation"]
        lead = (
            "Mean IoU of the foreground with the reference: of all channels alike (plain), of channels weighted by "
            f"category awareness (weighted), and their difference (gained). {noise_words(changes)} {NEUTRAL}"
        )
        if not changes["classes"]:
            lead = "Neither audit has an IoU, because its generator has no reference foreground."
        title = SEGMENTATION.title
        return [Section(SEGMENTATION.name, title, lead, tables=value_tables(changes, LABELS))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the mean IoU over classes."""
        for text in value_markdown(content["segmentation"], LABELS):
            yield SEGMENTATION.title, text


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
