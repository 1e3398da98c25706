"""Segmentation with and without awareness, in the summary and the report (Sec. 5.3, Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.rendering.claims import Claim, signed
from cawa_core.rendering.figures import Picture, compared_bars
from cawa_core.rendering.html_tables import HtmlTable, table_of
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

SOURCE = "Sec. 5.3, Fig. 8"
TITLE = "Segmentation by channels"
METHODS = {"plain": "unweighted", "weighted": "weighted by awareness"}


class SegmentationResults(Results[SegmentationOptions]):
    """Segmentation by clusters of channel activations."""

    def summary(self, findings: Findings) -> Content:
        """Summarise how well clusters match the reference foreground and the segmenter's labels, if there are any."""
        manifest = findings.manifest
        return {
            "segmentation": segmentation_summary(manifest, findings.resamples, "iou"),
            "segmentation_labels": segmentation_summary(manifest, findings.resamples, "label_agreement"),
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether weights by awareness find objects and labels better."""
        names = class_names(summary)
        claims = []
        if rows := summary.get("segmentation"):
            claims.append(foreground_claim(rows, names))
        if rows := summary.get("segmentation_labels"):
            claims.append(label_claim(rows, names))
        return claims

    def shown(self, manifest: Manifest) -> Tables:
        """Read the label maps of the classes that are shown."""
        return {SEGMENTATION_TABLE.name: rows_of_shown_classes(manifest, SEGMENTATION_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on label maps."""
        table = tables[SEGMENTATION_TABLE.name]
        return [] if table.empty else [segmentation_section(table, summary)]


def segmentation_summary(manifest: Manifest, resamples: ClassResamples, measure: str) -> list[dict[str, Any]] | None:
    """Summarise a measure of agreement with and without awareness, by number of clusters; None if it is unknown.

    Args:
        manifest: results of the folder.
        resamples: bootstrap over classes.
        measure: column of the table: ``iou``, or ``label_agreement``.
    """
    columns = ["class_id", "clusters", "weighted", measure]
    known = manifest.rows(SEGMENTATION_TABLE.name, columns).to_pandas().dropna()
    if known.empty:
        return None
    means = known.groupby(["clusters", "class_id", "weighted"])[measure].mean().unstack("weighted")
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


def foreground_claim(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> Claim:
    """Decide whether weights by awareness raise the overlap with the reference, for every number of clusters."""
    evidence = (
        "Intersection over union (IoU) of the foreground clusters with the pixels above Otsu's threshold, averaged "
        f"over classes, weighted by awareness against unweighted: {_compared(rows, names)}."
    )
    claim = "Clustering pixels finds objects better if channels are weighted by awareness."
    return Claim(claim, _verdict(rows), evidence, SOURCE)


def label_claim(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> Claim:
    """Decide whether weights by awareness raise the agreement with the labels, for every number of clusters."""
    evidence = (
        "Adjusted Rand index of the clusters and the segmenter's labels (1 if both divide the pixels in the same way, "
        f"0 by chance), averaged over classes, weighted by awareness against unweighted: {_compared(rows, names)}."
    )
    claim = "Clusters of pixels agree better with the labels if channels are weighted by awareness."
    return Claim(claim, _verdict(rows), evidence, SOURCE)


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    return joint_verdict([typical_verdict(row["typical_gain"], 1, SMALLEST_GAIN) for row in rows])


def _compared(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    return "; ".join(
        f"{row['weighted']:.2f} against {row['plain']:.2f} with K = {row['clusters']} clusters, a difference of "
        f"{signed(row['gained'])} ({typical_words(row['typical_gain'], names)})"
        for row in rows
    )


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
    figures: list[Picture] = []
    tables: list[HtmlTable] = []
    if summary["segmentation"]:
        lead += (
            " IoU, intersection over union, compares the foreground with the pixels brighter than Otsu's threshold. "
            "The foreground consists of the clusters with a smaller share of their pixels at the border than pixels "
            "have on average."
        )
        title = "Foreground found by clustering"
        figures.append(_bars("segmentation-iou", title, summary["segmentation"], "IoU"))
        caption = f"{title} against Otsu's threshold, means over classes"
        tables.append(_comparison(caption, summary["segmentation"], "IoU"))
    if summary.get("segmentation_labels"):
        lead += (
            " The adjusted Rand index compares the clusters with the segmenter's labels: it is 1 if both divide the "
            "pixels in the same way, and 0 by chance."
        )
        agreement = "Agreement of the clusters with the labels"
        rand_index = "adjusted Rand index"
        figures.append(_bars("segmentation-labels", agreement, summary["segmentation_labels"], rand_index))
        tables.append(_comparison(f"{agreement}, means over classes", summary["segmentation_labels"], rand_index))
    return Section(SEGMENTATION.name, TITLE, lead, tuple(figures), tuple(tables), headings, tuple(rows))


def _bars(name: str, title: str, rows: Sequence[Mapping[str, Any]], measure: str) -> Picture:
    named = [{**row, "clusters": f"K = {row['clusters']}"} for row in rows]
    return compared_bars(name, title, named, "clusters", METHODS, measure)


def _comparison(caption: str, rows: Sequence[Mapping[str, Any]], measure: str) -> HtmlTable:
    """Compare a measure of both methods, and their difference, with intervals over classes."""
    columns = {"clusters": "K"}
    headings = {"plain": f"{measure}, unweighted", "weighted": f"{measure}, weighted", "gained": "difference"}
    for column, heading in headings.items():
        columns |= {column: heading, f"{column}_in": "95% interval of the mean"}
    columns["n_classes"] = "classes"
    return table_of(caption, columns, [with_intervals_in_words(row, tuple(headings)) for row in rows])


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
