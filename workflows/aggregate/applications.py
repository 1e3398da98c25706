"""What the applications' tables say over classes: segmentation, hybrids, edits, each with intervals."""

from __future__ import annotations

from typing import Any

from cawa_core.applications.mixtures import MIXED
from cawa_core.tables import Manifest
from workflows.aggregate.class_resamples import ClassResamples

MEASURES = ("harmony", "balance", "realism")
"""Of hybrids."""


def segmentation_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Foreground IoU with and without awareness by number of clusters; None where there is no mask to compare with."""
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
    """Channel mixing against style mixing by each measure that is known; means over input classes."""
    table = manifest.rows("hybrids", ["class_id", "reference_id", "kind", *MEASURES]).to_pandas()
    if table.empty:
        return None
    found = []
    for measure in MEASURES:
        by_pair = table.pivot(index=["class_id", "reference_id"], columns="kind", values=measure).astype(float)
        mixed = by_pair[list(MIXED)].dropna()
        if mixed.empty:
            continue
        mixed["gained"] = mixed.channel_mixing - mixed.style_mixing
        by_class = mixed.groupby("class_id").mean()
        row = {"measure": measure, "n_pairs": len(mixed), "n_classes": len(by_class)}
        found.append(row | resamples.means(by_class))
    return found


def edit_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """The best edit of each class, by site: how many, how much it changes, how locally, and how far the class stays.

    Means over classes of scores on latents that did not choose the edits.
    """
    table = manifest.rows("edits", ["class_id", "rank", "site", "change", "locality", "kept"]).to_pandas()
    best = table[table["rank"] == 0].sort_values("class_id")
    if best.empty:
        return None
    return [
        {"site": int(site), "n_classes": len(part), **resamples.means(part[["change", "locality", "kept"]])}
        for site, part in best.groupby("site")
    ]
