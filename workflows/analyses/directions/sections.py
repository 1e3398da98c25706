"""The section of directions in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.rendering.html_tables import HtmlTable, number_with_interval, table_of
from cawa_core.rendering.sections import Section
from workflows.analyses.directions import DIRECTIONS, SETS, WAY_WORDS, WAYS
from workflows.analyses.directions.figures import rescoring_picture, way_curves

MEASURES = {
    "change_size": "change of the concept",
    "off_target": "change of other concepts",
    "pixel_change": "change of a pixel",
    "locality": "locality",
    "class_retention": "class retention",
    "realism": "realism",
}
"""Columns of the table ``directions`` that are averaged over concepts, in words."""
REALISM_LOSS = 0.05
"""Share of the realism of unchanged images that is lost where ways are compared."""


def directions_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``directions`` of the summary.
    """
    lead = (
        "A controlling set is a small, signed and weighted set of dimensions that moves a concept. Sequential sets add "
        "dimensions by the size of their effect until they move the concept 90% as far as all dimensions with a "
        "significant effect; optimised sets are sparse and found by gradient. If neither moves a concept on images "
        "that did not choose it, nothing controls the concept. SeFa and GANSpace are unsupervised; each is represented "
        "by the one of its ten leading directions that moves the concept most. All directions have norm 1, so that "
        "steps are equally long. Changes are in standard deviations of the concept over unchanged images of the class; "
        f"unless a table says otherwise, after a step of {entry['strength']:g} standard deviations. For random "
        "sets, the size of the mean change over classes is shown; its interval lies rather too high, that of ratios to "
        "it rather too low. In brackets: 95% intervals over classes."
    )
    pictures = [way_curves(space, entry["ways"]) for space in _spaces(entry["ways"])]
    pictures += [rescoring_picture(matrix) for matrix in entry["rescoring"]]
    tables = [_concept_table(entry), _way_table(entry)]
    if entry["at_equal_realism"]:
        tables.append(_realism_table(entry["at_equal_realism"]))
    if entry["translations"]:
        tables.append(_translation_table(entry["translations"]))
    return Section(DIRECTIONS.name, DIRECTIONS.title, lead, tuple(pictures), tuple(tables))


def _spaces(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["space"] for row in rows))


def _concept_table(entry: Mapping[str, Any]) -> HtmlTable:
    ways = [way for way in WAYS if any(row[way] is not None for row in entry["concepts"])]
    rows = [
        {
            "concept": row["concept"],
            "space": row["space"],
            "sizes": " / ".join(_size_in_words(row["n_dimensions"][way]) for way in SETS),
            **{way: number_with_interval(row[way], row[f"{way}_ci"], 2) for way in ways},
            "times_chance": number_with_interval(row["times_chance"], row["times_chance_ci"], 1),
        }
        for row in entry["concepts"]
    ]
    columns = {"concept": "concept", "space": "space", "sizes": "dimensions of the sets"}
    columns |= {way: WAY_WORDS[way] for way in ways} | {"times_chance": "ratio to random sets"}
    return table_of(f"Change of each concept after a step of {entry['strength']:g}", columns, rows, 2)


def _size_in_words(size: int | None) -> str:
    """Return the size of a set; a dash if none was searched for, none if nothing was found."""
    return "–" if size is None else str(size or "none")


def _way_table(entry: Mapping[str, Any]) -> HtmlTable:
    rows = [
        {
            "space": row["space"],
            "way": WAY_WORDS[row["way"]],
            "strength": row["strength"],
            **{name: number_with_interval(row[name], row[f"{name}_ci"], 3) for name in MEASURES},
        }
        for row in entry["ways"]
    ]
    columns = {"space": "space", "way": "way", "strength": "step", **MEASURES}
    ways = {row["way"] for row in entry["ways"]}
    kinds = " and ".join(f"{WAY_WORDS[way]}s" for way in SETS if way in ways)
    return table_of(f"Means over the concepts that {kinds} control", columns, rows, 1)


def _realism_table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    cells = [
        {
            "space": row["space"],
            "way": WAY_WORDS[row["way"]],
            "change": number_with_interval(row["change_size"], row["change_size_ci"], 2),
            "strength": number_with_interval(row["strength"], row["strength_ci"], 2),
            "reached": "yes" if row["reached"] else "no, so this is the longest step",
        }
        for row in rows
    ]
    columns = {
        "space": "space",
        "way": "way",
        "change": "change of the concept",
        "strength": "length of the step",
        "reached": "5% lost within the longest step",
    }
    return table_of(f"Where {REALISM_LOSS:.0%} of the realism is lost", columns, cells)


def _translation_table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    cells = [
        {
            "way": row["way"],
            "n_dimensions": round(row["n_dimensions"]),
            "strength": row["strength"],
            "before": row["flip_rate_before"],
            "flip": number_with_interval(row["flip_rate"], row["flip_rate_ci"], 3),
            "probability": number_with_interval(row["target_probability"], row["target_probability_ci"], 3),
        }
        for row in rows
    ]
    columns = {
        "way": "dimensions",
        "n_dimensions": "how many, on average",
        "strength": "step",
        "before": "classified as the target before",
        "flip": "share of images classified as the target",
        "probability": "probability of the target class",
    }
    return table_of("Translation of each class into those with the closest embeddings", columns, cells, 1)
