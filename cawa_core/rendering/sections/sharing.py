"""Channels that classes have in common (Fig. 5a, Table 1, Appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cawa_core.rendering import figures
from cawa_core.rendering.findings import CRITERION_WORDS
from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.sections.base import Section, Tables, class_names
from cawa_core.statistics.overlap import COMPARED_CRITERIA
from cawa_core.statistics.similarity import centroid_distances, common_classes, pairs_as_matrix, similar_together


def overlap(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on Fig. 5a: overlap of top channels, with similar classes side by side."""
    pairs = tables["class_overlap"]
    distances = centroid_distances(tables["class_centroids"])
    if pairs.empty or not summary["overlap"]:
        return None
    names = class_names(summary)
    everywhere = pairs[(pairs.site == -1) & (pairs.k == pairs[pairs.site == -1].k.max())]
    if everywhere.empty:
        return None
    ids = common_classes(everywhere, distances)
    near = similar_together(distances.loc[ids, ids].to_numpy()) if distances is not None else range(len(ids))
    order = [ids[place] for place in near]
    pictures = []
    for criterion in COMPARED_CRITERIA:
        overlaps = everywhere[everywhere.criterion == criterion]
        if overlaps.empty:
            continue
        ranked = set(overlaps.class_a) | set(overlaps.class_b)  # without classes whose shard failed
        class_ids = [class_id for class_id in order if class_id in ranked]
        matrix = pairs_as_matrix(overlaps, class_ids)
        labels = [names[class_id] for class_id in class_ids]
        title = f"{CRITERION_WORDS[criterion].capitalize()} (%)"
        chance = float(overlaps.overlap_by_chance.iloc[0])
        pictures.append(figures.overlap_heatmap(f"overlap-{criterion}", title, matrix, labels, chance))
    rows = [
        {**row, "words": CRITERION_WORDS[row["criterion"]], "where": "all" if row["site"] == -1 else str(row["site"])}
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
        f"Percentage of each class's top {everywhere.k.max()} channels, over all sites, that two classes share. "
        "Classes with similar real images are placed side by side, and colour starts above the level expected by "
        "chance. The table tests whether overlap follows the similarity of the classes."
    )
    table = table_of("Overlap compared with chance and with the similarity of the classes' real images", columns, rows)
    return Section("overlap", "Which classes share channels", lead, tuple(pictures), (table,))


def sharing(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on Table 1 and Appendix C: channels in the top set of every class."""
    shared = tables["shared_channels"]
    if shared.empty:
        return None
    k = min(shared.k.unique(), key=lambda size: abs(size - 10))
    sites = sorted(shared.site.unique())
    rows = []
    for criterion, words in CRITERION_WORDS.items():
        counts = shared[(shared.criterion == criterion) & (shared.k == k)].set_index("site")
        if len(counts):
            by_site = {f"s{site}": int(counts.shared[site]) if site in counts.index else None for site in sites}
            total = int(counts.shared.sum())
            rows.append({"words": words, **by_site, "total": total, "chance": counts.shared_by_chance.sum()})
    columns = {
        "words": "ranked by",
        **{f"s{site}": f"L{site}" for site in sites},
        "total": "all",
        "chance": "by chance",
    }
    caption = f"Channels in the top {k} of every class, by site (in the form of the paper's Table 1)"
    picture = figures.shared_lines(
        "shared", "Shared by all classes, summed over sites", summary["sharing"], CRITERION_WORDS
    )
    lead = "A channel counts if it is among the top k of its site for every class."
    return Section("sharing", "Channels shared by all classes", lead, (picture,), (table_of(caption, columns, rows),))
