"""Whether similar classes share more channels (Fig. 5a)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.rendering.claims import Claim, signed
from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.sections import Section, Tables, class_names, site_words
from cawa_core.statistics.intervals import mantel_tests
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.overlap import COMPARED_CRITERIA
from cawa_core.statistics.similarity import centroid_distances, common_classes, pairs_as_matrix, similar_together
from cawa_core.statistics.verdicts import FAILS, HOLDS, IN_PART, OPEN, SMALLEST_CORRELATION, Estimate, decide
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.class_metrics import CLASS_CENTROIDS_TABLE
from workflows.analyses.class_overlap import CLASS_OVERLAP, CLASS_OVERLAP_TABLE, ClassOverlapOptions
from workflows.analyses.class_overlap.figures import overlap_heatmap
from workflows.interface import Content, Findings, Results
from workflows.results.rankings import CRITERION_WORDS

REAL_CENTROIDS = "centroids that classes are ordered by"
"""Name of what is read of another analysis's table."""
KEY = ("criterion", "site", "k")
FEWEST_CLASSES = 4
"""Smallest number of classes for a Mantel test; with fewer there is too little to permute."""

Counts = NDArray[np.uint16]
Classes = tuple[int, ...]


class ClassOverlapResults(Results[ClassOverlapOptions]):
    """Overlap of the classes' top channels, and its relation to the similarity of their real images."""

    def summary(self, findings: Findings) -> Content:
        """Summarise mean overlap, and test it against the similarity of classes."""
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

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on Fig. 5a."""
        pairs = tables[CLASS_OVERLAP_TABLE.name]
        if pairs.empty or not summary["overlap"]:
            return []
        return [overlap_section(pairs, tables[REAL_CENTROIDS], summary)]


def overlap_summary(
    manifest: Manifest, centroids: pd.DataFrame, permutations: int, random: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Summarise mean overlap by criterion, site and k, and its relation to similarity of real classes (Mantel test).

    All tests over the same classes share their permutations.
    """
    distances = centroid_distances(centroids)
    rows = []
    tests_by_classes = defaultdict(list)
    for group in manifest.row_groups(
        CLASS_OVERLAP_TABLE.name, [*KEY, "class_a", "class_b", "overlap", "overlap_by_chance"]
    ):
        row = {name: group[name][0].as_py() for name in KEY}
        overlaps = group["overlap"].to_numpy()
        rows.append(row | {"overlap": float(overlaps.mean(dtype=np.float64)), "by_chance": _overlap_by_chance(group)})
        rows[-1] |= dict.fromkeys(("similarity_spearman", "similarity_p", "similarity_null_std"))
        if distances is not None:
            classes, counts = _common_pairs(group, distances, np.rint(overlaps * row["k"]).astype(np.uint16))
            if len(classes) >= FEWEST_CLASSES:
                tests_by_classes[classes].append((rows[-1], counts))
    for classes, tests in tests_by_classes.items():
        assert distances is not None
        nearness = -distances.loc[list(classes), list(classes)].to_numpy()
        results = mantel_tests(nearness, np.stack([counts for _, counts in tests]), permutations, random)
        for (row, _), r, p, spread in zip(tests, *results, strict=True):
            row |= {"similarity_spearman": float(r), "similarity_p": float(p), "similarity_null_std": float(spread)}
    return sorted(rows, key=lambda row: [row[name] for name in KEY]) or None


def _overlap_by_chance(group: pa.Table) -> float:
    return float(group["overlap_by_chance"][0].as_py())


def _common_pairs(group: pa.Table, distances: pd.DataFrame, counts: Counts) -> tuple[Classes, Counts]:
    """Return the classes with both overlaps and a distance, ascending, and the counts of their pairs in that order."""
    a, b = (group[name].to_numpy() for name in ("class_a", "class_b"))
    known = np.union1d(
        a[:1], b[a == a[0]]
    )  # pairs are in ascending order, so the first class is paired with all others
    classes = np.intersect1d(known, distances.index.to_numpy())
    if len(classes) < len(known):
        counts = counts[np.isin(a, classes) & np.isin(b, classes)]
    return tuple(classes.tolist()), counts


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
    everywhere = manifest.rows(CLASS_OVERLAP_TABLE.name, sites=[ALL_SITES], text_as_codes=["criterion"])
    largest = pc.max(everywhere["k"])
    frame: pd.DataFrame = everywhere.filter(pc.equal(everywhere["k"], largest)).to_pandas()
    return frame.sort_values(["criterion", "class_a", "class_b"], ignore_index=True)


def overlap_section(pairs: pd.DataFrame, centroids: pd.DataFrame, summary: Content) -> Section:
    """Build the section on Fig. 5a: overlap of top channels, with similar classes side by side.

    Args:
        pairs: overlaps of the largest top sets over all sites.
        centroids: table ``class_centroids``.
        summary: content of ``summary.json``.
    """
    distances = centroid_distances(centroids)
    names = class_names(summary)
    ids = common_classes(pairs, distances)
    near = similar_together(distances.loc[ids, ids].to_numpy()) if distances is not None else range(len(ids))
    order = [ids[place] for place in near]
    pictures = []
    for criterion in COMPARED_CRITERIA:
        overlaps = pairs[pairs.criterion == criterion]
        if overlaps.empty:
            continue
        ranked = set(overlaps.class_a) | set(overlaps.class_b)  # without classes whose shard failed
        class_ids = [class_id for class_id in order if class_id in ranked]
        matrix = pairs_as_matrix(overlaps, class_ids)
        labels = [names[class_id] for class_id in class_ids]
        title = f"{CRITERION_WORDS[criterion].capitalize()} (%)"
        chance = float(overlaps.overlap_by_chance.iloc[0])
        pictures.append(overlap_heatmap(f"overlap-{criterion}", title, matrix, labels, chance))
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
        f"Percentage of their top {pairs.k.max()} channels, over all sites, that two classes share. "
        "Classes with similar real images are placed side by side, and cells are coloured if the overlap is above the "
        "level expected by chance. The table tests whether overlap follows the similarity of the classes."
    )
    table = table_of("Overlap compared with chance and with the similarity of the classes' real images", columns, rows)
    return Section(CLASS_OVERLAP.name, "Which classes share channels", lead, tuple(pictures), (table,))
