"""Regions of concepts in hybrids, compared with those in the images of both classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.hybrids.kinds import KINDS, MIXED
from cawa_core.rendering.html_tables import HtmlTable, table_of
from cawa_core.tables import Manifest
from workflows.analyses.hybrids import HYBRID_CONCEPTS_TABLE
from workflows.results.class_resamples import ClassResamples

REGIONS = ("input", "reference")
"""Classes whose images the regions of concepts are compared with."""
CONCEPT_LEAD = (
    " The segmenter tells how much a mixture keeps of the images of either class: for each concept, the intersection "
    "over union (IoU) of its region in the mixture with its region in either image of the same latents."
)
"""Introduction to the table of concepts in the section on hybrids."""


def concept_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise the IoU of each concept's region with that in either class's images; None without a segmenter.

    Regions are compared on the same latents, with pixels summed over them; means over input classes. A pair of classes
    counts for a concept if any of the images compared shows it.
    """
    counts = manifest.rows(HYBRID_CONCEPTS_TABLE.name).to_pandas()
    if counts.empty:
        return None
    for region in REGIONS:
        joint = counts.pixels + counts[f"{region}_pixels"] - counts[f"{region}_shared"]
        counts[f"{region}_iou"] = (counts[f"{region}_shared"] / joint).where(joint > 0)
    columns = [f"{region}_iou" for region in REGIONS]
    by_class = counts.groupby(["kind", "concept", "class_id"], sort=False)[columns].mean()
    return [
        {"kind": kind, "concept": concept, "n_classes": int(part.notna().any(axis=1).sum()), **resamples.means(part)}
        for kind in KINDS
        for concept, part in by_class.loc[kind].groupby("concept", sort=False)
    ]


def concept_table(rows: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> HtmlTable:
    """Compare the regions of each concept in mixtures with those in the images of either class.

    Args:
        rows: entry ``hybrid_concepts`` of the summary.
        words: what kinds are called.
    """
    columns = {"concept": "concept", "reference input": "IoU of both classes"}
    columns |= {
        f"{kind} {region}": f"{words[kind]}: IoU with the {region} class" for kind in MIXED for region in REGIONS
    }
    compared: dict[str, dict[str, Any]] = {}
    for row in rows:
        values = {f"{row['kind']} {region}": row[f"{region}_iou"] for region in REGIONS}
        compared.setdefault(row["concept"], {"concept": row["concept"]}).update(values)
    table = [dict.fromkeys(columns) | row for row in compared.values()]
    return table_of("Regions of concepts in hybrids, means over classes", columns, table)
