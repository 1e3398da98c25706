"""Whether similar classes share more channels (Fig. 5a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.rendering.claims import Claim
from cawa_core.rendering.class_facts import MOST_RELATED, ClassFacts, RelatedClass, Relation
from cawa_core.rendering.html_tables import HtmlTable, records, table_of
from cawa_core.rendering.sections import Section, Tables, class_names, site_words
from cawa_core.statistics.overlap import COMPARED_CRITERIA
from cawa_core.statistics.similarity import centroid_distances, common_classes
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES
from cawa_core.worlds.factors import NEITHER, known_factors
from workflows.analyses.class_metrics import CLASS_CENTROIDS_TABLE
from workflows.analyses.class_overlap import CLASS_OVERLAP, CLASS_OVERLAP_TABLE, ClassOverlapOptions
from workflows.analyses.class_overlap.claims import factor_claims, similarity_claims
from workflows.analyses.class_overlap.figures import (
    MOST_NAMED,
    OverlapClasses,
    clustered_overlap,
    factor_lines,
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
        """Summarise mean overlap, and test it against the similarity of classes and against their known factors."""
        # Both import PyTorch, which a report does without.
        from workflows.analyses.class_overlap.summary import factor_summary, overlap_summary

        manifest = findings.manifest
        centroids = manifest.table(CLASS_CENTROIDS_TABLE.name)
        factors = known_factors(findings.spec.real_images)
        seed = findings.spec.seed
        permutations = findings.spec.permutations
        similarity = random_generator(seed, SHARED_CLASS, 0, "mantel")
        sharing = random_generator(seed, SHARED_CLASS, 0, "mantel of factors")
        return {
            "overlap": overlap_summary(manifest, centroids, permutations, similarity),
            "overlap_by_factor": factors and factor_summary(manifest, factors, permutations, sharing),
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether similar classes share channels, and those that share a known factor."""
        return [
            *similarity_claims(summary.get("overlap") or ()),
            *factor_claims(summary.get("overlap_by_factor") or ()),
        ]

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
    tables = [
        table_of("Overlap compared with chance and with the similarity of the classes' real images", columns, rows)
    ]
    figures = drawn.pictures
    by_factor = summary.get("overlap_by_factor")
    if by_factor:
        lead += (
            f" What makes the classes is known, so it also compares the pairs that share the "
            f"{' or the '.join(factors_of(by_factor))} with those that share neither."
        )
        figures = (*figures, factor_lines(by_factor))
        tables.append(factor_table(by_factor))
    title = "Which classes share channels"
    return Section(CLASS_OVERLAP.name, title, lead, figures, tuple(tables), pair_map=drawn.pair_map)


def factors_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the known factors in the entry ``overlap_by_factor`` of the summary, in their order."""
    return [factor for factor in dict.fromkeys(row["factor"] for row in rows) if factor != NEITHER]


def factor_table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    """Compare the overlap of the pairs that share each factor and none, for the largest top sets.

    There is a row per site for category awareness, and one for all sites together for every criterion.
    """
    factors = factors_of(rows)
    largest: dict[tuple[str, int], int] = {}
    for row in rows:
        place = row["criterion"], row["site"]
        largest[place] = max(row["k"], largest.get(place, 0))
    compared: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        place = row["criterion"], row["site"]
        if row["k"] == largest[place] and (row["site"] == ALL_SITES or row["criterion"] == NEAREST_BY):
            words = {"words": CRITERION_WORDS[row["criterion"]], "where": site_words(row["site"])}
            compared.setdefault(place, words | {"k": row["k"], "by_chance": row["by_chance"]})
            tested = {f"{row['factor']} {name}": row[name] for name in ("overlap", "spearman", "p")}
            compared[place] |= tested
    columns = {"words": "ranked by", "where": "site", "k": "k"}
    columns |= {f"{factor} overlap": f"same {factor}" for factor in factors}
    columns |= {f"{NEITHER} overlap": NEITHER, "by_chance": "by chance"}
    for factor in factors:
        columns |= {f"{factor} spearman": f"rank r with same {factor}", f"{factor} p": "Mantel p"}
    caption = f"Overlap of classes that share the {', the '.join(factors)}, {NEITHER}"
    return table_of(caption, columns, list(compared.values()))
