"""Summary over classes of segmentation, hybrids and edits, with confidence intervals."""

from __future__ import annotations

from typing import Any

from cawa_core.applications.mixtures import MIXED
from cawa_core.tables import Manifest
from workflows.aggregate.class_resamples import ClassResamples

MEASURES = ("harmony", "balance", "realism")
"""Measures of hybrids."""


def segmentation_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise foreground IoU with and without awareness by clusters; None without a reference foreground."""
    known = manifest.rows("segmentation", ["class_id", "clusters", "weighted", "iou"]).to_pandas().dropna()
    if known.empty:
        return None
    means = known.groupby(["clusters", "class_id", "weighted"]).iou.mean().unstack("weighted")
    by_class = means.rename(columns={False: "plain", True: "weighted"})
    by_class["gained"] = by_class.weighted - by_class.plain
    return [
        {"clusters": int(clusters), "n_classes": len(part), **resamples.means(part)}
        for clusters, part in by_class.groupby("clusters")
    ]


def hybrid_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Compare channel mixing with style mixing by each known measure; means over input classes."""
    table = manifest.rows("hybrids", ["class_id", "reference_id", "kind", *MEASURES]).to_pandas()
    if table.empty:
        return None
    summary = []
    for measure in MEASURES:
        by_pair = table.pivot(index=["class_id", "reference_id"], columns="kind", values=measure).astype(float)
        mixed = by_pair[list(MIXED)].dropna()
        if mixed.empty:
            continue
        mixed["gained"] = mixed.channel_mixing - mixed.style_mixing
        by_class = mixed.groupby("class_id").mean()
        row = {"measure": measure, "n_pairs": len(mixed), "n_classes": len(by_class)}
        summary.append(row | resamples.means(by_class))
    return summary


def edit_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise the best edit of each class by site: count, change, locality, and retention of the class.

    Values are means over classes of the scores on held-out latents.
    """
    table = manifest.rows("edits", ["class_id", "rank", "site", "change", "locality", "kept"]).to_pandas()
    best = table[table["rank"] == 0].sort_values("class_id")
    if best.empty:
        return None
    return [
        {"site": int(site), "n_classes": len(part), **resamples.means(part[["change", "locality", "kept"]])}
        for site, part in best.groupby("site")
    ]
