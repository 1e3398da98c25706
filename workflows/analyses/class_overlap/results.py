"""Whether similar classes share more channels (Fig. 5a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.rendering.claims import Claim, signed
from cawa_core.rendering.class_facts import MOST_RELATED, ClassFacts, RelatedClass, Relation
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section, Tables, class_names, site_words
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.overlap import COMPARED_CRITERIA
from cawa_core.statistics.similarity import centroid_distances, common_classes
from cawa_core.statistics.verdicts import FAILS, HOLDS, IN_PART, OPEN, SMALLEST_CORRELATION, Estimate, decide
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.class_metrics import CLASS_CENTROIDS_TABLE
from workflows.analyses.class_overlap import CLASS_OVERLAP, CLASS_OVERLAP_TABLE, ClassOverlapOptions
from workflows.analyses.class_overlap.figures import (
    MOST_NAMED,
    OverlapClasses,
    clustered_overlap,
    numbered_overlap,
)
from workflows.interface import Content, Findings, Results
from workflows.results.rankings import CRITERION_WORDS

REAL_CENTROIDS = "centroids that classes are ordered by"
"""Name of what is read of another analysis's table."""
NEAREST_BY = "category_highest"
"""Criterion that ranks the channels by which the nearest classes are found."""


class ClassOverlapResults(Results[ClassOverlapOptions]):
    """Overlap of the classes' top channels, and its relation to the similarity of their real images."""

    def summary(self, findings: Findings) -> Content:
        """Summarise mean overlap, and test it against the similarity of classes."""
        from workflows.analyses.class_overlap.summary import overlap_summary  # imports PyTorch; a report does without

        centroids = findings.manifest.table(CLASS_CENTROIDS_TABLE.name)
        random = random_generator(findings.spec.seed, SHARED_CLASS, 0, "mantel")
        return {"overlap": overlap_summary(findings.manifest, centroids, findings.spec.permutations, random)}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether similar classes share channels."""
        rows = summary.get("overlap")
        return similarity_claims(rows) if rows else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the overlaps over all sites, and the centroids of the classes."""
        return {
            CLASS_OVERLAP_TABLE.name: overall_overlap(manifest),
            REAL_CENTROIDS: manifest.table(CLASS_CENTROIDS_TABLE.name),
        }

    def class_facts(self, tables: Tables, summary: Content) -> ClassFacts | None:
        """Return the classes that share most channels of high category awareness with each class."""
        pairs = tables[CLASS_OVERLAP_TABLE.name]
        nearest = nearest_classes(pairs[pairs.criterion == NEAREST_BY], class_names(summary))
        return ClassFacts(relations=(nearest,)) if nearest.by_class else None

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on Fig. 5a."""
        pairs = tables[CLASS_OVERLAP_TABLE.name]
        if pairs.empty or not summary["overlap"]:
            return []
        return [overlap_section(pairs, tables[REAL_CENTROIDS], summary)]


def similarity_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Decide whether similar classes share channels, by Mantel tests of the largest top sets over all sites.

    The claim holds if the correlation of category awareness reaches the smallest one that counts and its test passes
    among all criteria (Benjamini-Hochberg at 0.05), and in part if only another one does. It does not hold if the
    interval of every criterion, two standard deviations of the permuted correlation to either side, rules that
    correlation out.
    """
    everywhere = [row for row in rows if row["site"] == ALL_SITES]
    largest = max((row["k"] for row in everywhere), default=None)
    tested = [row for row in everywhere if row["k"] == largest and row["similarity_p"] is not None]
    if not tested:
        return []
    q_values = adjusted(np.array([row["similarity_p"] for row in tested], dtype=np.float64))
    verdicts = {
        row["criterion"]: decide(_similarity(row, q_value), 1, SMALLEST_CORRELATION)
        for row, q_value in zip(tested, q_values, strict=True)
    }
    holding = [criterion for criterion, verdict in verdicts.items() if verdict == HOLDS]
    verdict = HOLDS if "category_highest" in holding else IN_PART if holding else OPEN
    if set(verdicts.values()) == {FAILS}:
        verdict = FAILS
    parts = ", ".join(
        f"{CRITERION_WORDS[row['criterion']]} {signed(row['similarity_spearman'])} (adjusted p = {q_value:.3f})"
        for row, q_value in sorted(zip(tested, q_values, strict=True), key=lambda pair: -pair[0]["similarity_spearman"])
    )
    evidence = (
        f"Rank correlation, over pairs of classes, of the overlap of their top {largest} channels with the similarity "
        f"of their real images (Mantel test), for channels ranked by {parts}."
    )
    return [Claim("Similar classes share channels.", verdict, evidence, "Sec. 4.1, Fig. 5a")]


def _similarity(row: Mapping[str, Any], q_value: float) -> Estimate:
    """Return a Mantel correlation with an interval as wide as that of the permuted ones, and its adjusted p-value."""
    r = row["similarity_spearman"]
    half_width = 2 * row["similarity_null_std"]
    return Estimate(r, r - half_width, r + half_width, q_value)


def overall_overlap(manifest: Manifest) -> pd.DataFrame:
    """Read the overlaps of the largest top sets over all sites."""
    rows = manifest.rows(CLASS_OVERLAP_TABLE.name, sites=[ALL_SITES], text_as_codes=["criterion"])
    rows = rows.filter(pc.equal(rows["k"], pc.max(rows["k"])))  # frees the others: there are millions
    frame: pd.DataFrame = rows.to_pandas()
    return frame.sort_values(["criterion", "class_a", "class_b"], ignore_index=True)


def nearest_classes(pairs: pd.DataFrame, names: Mapping[int, str]) -> Relation:
    """Return the classes whose top channels overlap most with those of each class, if more than by chance.

    Args:
        pairs: overlaps by one criterion.
        names: names of the classes by index.
    """
    shared = pairs[pairs.overlap > pairs.overlap_by_chance]
    mirrored = shared.rename(columns={"class_a": "class_b", "class_b": "class_a"})
    both = pd.concat([shared, mirrored])[["class_a", "class_b", "overlap", "k"]]
    ordered = both.sort_values(["class_a", "overlap", "class_b"], ascending=[True, False, True])
    related: dict[int, list[RelatedClass]] = {}
    for row in records(ordered.groupby("class_a").head(MOST_RELATED)):
        words = f"{row['overlap']:.0%} of the top {row['k']} channels"
        other = RelatedClass(row["class_b"], names[row["class_b"]], words)
        related.setdefault(row["class_a"], []).append(other)
    return Relation("Nearest by shared channels", related)


def overlap_section(pairs: pd.DataFrame, centroids: pd.DataFrame, summary: Content) -> Section:
    """Build the section on Fig. 5a: overlap of top channels, with similar classes side by side.

    Args:
        pairs: overlaps of the largest top sets over all sites.
        centroids: table ``class_centroids``.
        summary: content of ``summary.json``.
    """
    distances = centroid_distances(centroids)
    classes = OverlapClasses(common_classes(pairs, distances), class_names(summary), distances)
    overlaps = {name: pairs[pairs.criterion == name] for name in COMPARED_CRITERIA if (pairs.criterion == name).any()}
    if len(classes.ids) <= MOST_NAMED:
        drawn = numbered_overlap(overlaps, classes)
        placed = "Classes with similar real images are placed side by side, and cells"
    else:
        drawn = clustered_overlap(overlaps, classes)
        like = "overlaps" if distances is None else "real images"
        placed = (
            f"Classes with similar {like} form clusters, each named after its most central class and followed by its "
            "number of classes. The figures show means over the clusters, the map below them every pair of classes. "
            "Cells"
        )
    rows = [
        {**row, "words": CRITERION_WORDS[row["criterion"]], "where": site_words(row["site"])}
        for row in summary["overlap"]
    ]
    columns = {
        "words": "ranked by",
        "where": "site",
        "k": "k",
        "overlap": "mean overlap",
        "by_chance": "by chance",
        "similarity_spearman": "rank r with similarity",
        "similarity_p": "Mantel p",
    }
    lead = (
        f"Percentage of their top {pairs.k.max()} channels, over all sites, that two classes share. {placed} are "
        "coloured if the overlap is above the level expected by chance. The table tests whether overlap follows the "
        "similarity of the classes."
    )
    table = table_of("Overlap compared with chance and with the similarity of the classes' real images", columns, rows)
    title = "Which classes share channels"
    return Section(CLASS_OVERLAP.name, title, lead, drawn.pictures, (table,), pair_map=drawn.pair_map)
