"""Segmentation with and without awareness, in the summary and the report (Sec. 5.3, Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.rendering.claims import Claim, signed
from cawa_core.rendering.figures import compared_bars
from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.sections import (
    Photo,
    PhotoRow,
    Section,
    Tables,
    class_names,
    rows_of_shown_classes,
    shown_classes,
    with_intervals_in_words,
)
from cawa_core.statistics.verdicts import SMALLEST_GAIN, joint_verdict
from cawa_core.tables import Manifest
from workflows.analyses.segmentation import SEGMENTATION, SEGMENTATION_TABLE, SegmentationOptions
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

TITLE = "Segmentation by channels"
COMPARISON_COLUMNS = {
    "clusters": "K",
    "plain": "IoU, unweighted",
    "plain_in": "95% interval",
    "weighted": "IoU, weighted",
    "weighted_in": "95% interval",
    "gained": "difference",
    "gained_in": "95% interval",
    "n_classes": "classes",
}


class SegmentationResults(Results[SegmentationOptions]):
    """Segmentation by clusters of channel activations."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the overlap of the foreground with the reference, if there is one."""
        return {"segmentation": segmentation_summary(findings.manifest, findings.resamples)}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether weights by awareness find objects better."""
        rows = summary.get("segmentation")
        return segmentation_claims(rows, class_names(summary)) if rows else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the label maps of the classes that are shown."""
        return {SEGMENTATION_TABLE.name: rows_of_shown_classes(manifest, SEGMENTATION_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on label maps."""
        table = tables[SEGMENTATION_TABLE.name]
        return [] if table.empty else [segmentation_section(table, summary)]


def segmentation_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise foreground IoU with and without awareness by clusters; None without a reference foreground."""
    columns = ["class_id", "clusters", "weighted", "iou"]
    known = manifest.rows(SEGMENTATION_TABLE.name, columns).to_pandas().dropna()
    if known.empty:
        return None
    means = known.groupby(["clusters", "class_id", "weighted"]).iou.mean().unstack("weighted")
    by_class = means.rename(columns={False: "plain", True: "weighted"})
    by_class["gained"] = by_class.weighted - by_class.plain
    return [
        {
            "clusters": int(clusters),
            "n_classes": len(part),
            **resamples.means(part),
            "typical_gain": typical_value(part.gained.droplevel("clusters")),
        }
        for clusters, part in by_class.groupby("clusters")
    ]


def segmentation_claims(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[Claim]:
    """Decide whether weights by awareness raise the overlap with the reference, for every number of clusters."""
    verdicts = [typical_verdict(row["typical_gain"], 1, SMALLEST_GAIN) for row in rows]
    parts = "; ".join(
        f"{row['weighted']:.2f} against {row['plain']:.2f} with K = {row['clusters']} clusters, a difference of "
        f"{signed(row['gained'])} ({typical_words(row['typical_gain'], names)})"
        for row in rows
    )
    evidence = (
        "Intersection over union (IoU) of the foreground clusters with the pixels above Otsu's threshold, averaged "
        f"over classes, weighted by awareness against unweighted: {parts}."
    )
    claim = "Clustering pixels finds objects better if channels are weighted by awareness."
    return [Claim(claim, joint_verdict(verdicts), evidence, "Sec. 5.3, Fig. 8")]


def segmentation_section(table: pd.DataFrame, summary: Content) -> Section:
    """Build the section on label maps with and without awareness, and on their overlap with a mask if there is one."""
    names = class_names(summary)
    clusters = int(table.clusters.max())
    ids = shown_classes(sorted(table.class_id.unique()))
    rows = [
        PhotoRow(names[class_id], _maps(table[table.class_id == class_id], clusters, names[class_id]))
        for class_id in ids
    ]
    headings = ("images", f"K = {clusters}, unweighted", f"K = {clusters}, weighted by awareness")
    lead = (
        "Pixels are clustered by the activations of the channels of sites "
        f"{', '.join(map(str, table.sites.iloc[0]))}, with and without weighting each channel by its awareness of the "
        "class. Clusters are fitted to all images of a class together, so a colour means the same part in each of "
        "its images. In the weighted maps, the darkest part is the one that lies most at the image border; each "
        "unweighted part has the colour of the weighted part that it shares most pixels with."
    )
    columns = ("plain", "weighted", "gained")
    compared = [with_intervals_in_words(row, columns) for row in summary["segmentation"] or ()]
    if not compared:
        return Section(SEGMENTATION.name, TITLE, lead, (), (), headings, tuple(rows))
    lead += (
        " IoU, intersection over union, compares the foreground with the pixels brighter than Otsu's threshold. The "
        "foreground consists of the clusters with a smaller share of their pixels at the border than pixels have on "
        "average."
    )
    named = [{**row, "clusters": f"K = {row['clusters']}"} for row in compared]
    methods = {"plain": "unweighted", "weighted": "weighted by awareness"}
    bars = compared_bars("segmentation-iou", "Foreground found by clustering", named, "clusters", methods, "IoU")
    caption = "Foreground found by clustering against Otsu's threshold, means over classes"
    overlaps = table_of(caption, COMPARISON_COLUMNS, compared)
    return Section(SEGMENTATION.name, TITLE, lead, (bars,), (overlaps,), headings, tuple(rows))


def _maps(rows: pd.DataFrame, clusters: int, class_name: str) -> tuple[Photo, ...]:
    """Return the images of a class, and their label maps without and with awareness."""
    images = rows[rows.png.notna()].sort_values("index")
    mapped = rows[rows.labels_png.notna() & (rows.clusters == clusters)].sort_values("index")
    plain, weighted = (mapped[mapped.weighted == is_weighted] for is_weighted in (False, True))
    parts = ((plain, "without"), (weighted, "with"))
    maps = (
        Photo.of_strip(list(part.labels_png), f"their parts, {word} awareness", _overlap(part)) for part, word in parts
    )
    return Photo.of_strip(list(images.png), f"{len(images)} images of the class {class_name}", ""), *maps


def _overlap(part: pd.DataFrame) -> str:
    known = part.iou.dropna()
    return f"IoU {known.mean():.2f}" if len(known) else ""
