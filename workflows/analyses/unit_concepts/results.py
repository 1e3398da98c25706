"""Interpretable units in the summary and the report: the things that channels draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import Cell, number_with_interval, records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.tables import Manifest
from workflows.analyses.unit_concepts import (
    LEVEL,
    SITE_CONCEPTS_TABLE,
    SITE_UNITS_TABLE,
    UNIT_CONCEPTS,
    UNIT_CONCEPTS_TABLE,
)
from workflows.interface import Content, Findings, NoOptions, Results

COUNTED = {"interpretable": "interpretable", "by_published_rule": "IoU above 0.05", "detected": "concepts"}
"""Headings of the numbers of a site that have an interval."""
UNITS_OF_A_CONCEPT = 5
"""Units that the page lists for each concept."""


class UnitConceptsResults(Results[NoOptions]):
    """Interpretable units by site and concept."""

    def summary(self, findings: Findings) -> Content:
        """Count the interpretable units of each site, and those of each concept."""
        of_sites = findings.manifest.table(SITE_UNITS_TABLE.name)
        return {"concepts": concepts_by_site(of_sites, findings.manifest.table(SITE_CONCEPTS_TABLE.name))}

    def shown(self, manifest: Manifest) -> Tables:
        """Read the best concept of each unit."""
        return {UNIT_CONCEPTS_TABLE.name: best_concepts(manifest)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on concepts."""
        units = tables[UNIT_CONCEPTS_TABLE.name]
        return [] if units.empty else [concept_section(units, summary["concepts"])]


def best_concepts(manifest: Manifest) -> pd.DataFrame:
    """Read the rows of the concept that each unit has the highest IoU with."""
    rows = manifest.table(UNIT_CONCEPTS_TABLE.name)
    best: pd.DataFrame = rows[rows.is_best.astype(bool)].reset_index(drop=True)
    return best


def concepts_by_site(of_sites: pd.DataFrame, of_concepts: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Return the numbers of units by site.

    Args:
        of_sites: ``site_units``.
        of_concepts: ``site_concepts``.

    Returns:
        One row per site: ``units``; and with the ends of their 95% intervals over classes as ``<name>_ci``, None for
        one class, ``interpretable`` ones, those ``by_published_rule`` alone, and the ``detected`` concepts, those of
        any interpretable unit. ``by_concept`` has ``units`` and ``units_ci`` of each of these. None without dissection.
    """
    if of_sites.empty:
        return None
    rows = []
    for row in records(of_sites):
        concepts = of_concepts[(of_concepts.site == row["site"]) & (of_concepts.units > 0)]
        rows.append(
            {
                "site": int(row["site"]),
                "units": int(row["units"]),
                **{key: value for name in COUNTED for key, value in _number(row, name).items()},
                "by_concept": {concept["concept"]: _number(concept, "units") for concept in records(concepts)},
            }
        )
    return rows


def _number(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a count of a table and its interval as entries of the summary."""
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    return {name: int(row[name]), f"{name}_ci": None if np.isnan(low) else [low, high]}


def concept_section(best: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> Section:
    """Build the section on concepts.

    Args:
        best: :func:`best_concepts`.
        rows: :func:`concepts_by_site`.
    """
    site_columns = {"site": "site", "units": "units"} | COUNTED
    by_site = [
        {**row, **{name: number_with_interval(row[name], row[f"{name}_ci"], 0) for name in COUNTED}} for row in rows
    ]
    concepts = sorted({name for row in rows for name in row["by_concept"]})
    concept_columns = {"concept": "concept"} | {str(row["site"]): f"site {row['site']}" for row in rows}
    by_concept = [
        {"concept": name} | {str(row["site"]): _drawn(row["by_concept"].get(name)) for row in rows} for name in concepts
    ]
    units = best[best.is_interpretable].sort_values(["concept", "iou"], ascending=[True, False])
    strongest = records(units.groupby("concept").head(UNITS_OF_A_CONCEPT))
    unit_columns = {
        "concept": "concept",
        "site": "site",
        "channel": "channel",
        "iou": "IoU",
        "iou_by_chance": "IoU by chance",
        "n_classes": "classes with it",
    }
    tables = (
        table_of("Interpretable units by site", site_columns, by_site),
        table_of("Interpretable units by what they draw", concept_columns, by_concept),
        table_of(
            f"The {UNITS_OF_A_CONCEPT} interpretable units of highest IoU of each concept", unit_columns, strongest
        ),
    )
    in_brackets = " In brackets: 95% intervals over classes." if rows[0]["interpretable_ci"] else ""
    lead = (
        "A unit is a channel of a site. It is on where its features, enlarged to the image, exceed a threshold, which "
        "is chosen on other images; IoU (intersection over union) compares these pixels with those of a concept. A "
        "unit is interpretable if its best IoU is above 0.05, as published, and its overlap exceeds that with the "
        "label maps of other images of the same class, at a rate of false discoveries of "
        f"{LEVEL:.0%} among all units and concepts. Large concepts, such as a background, overlap with any unit: the "
        f"published rule alone counts these too.{in_brackets}"
    )
    return Section(UNIT_CONCEPTS.name, "What channels draw", lead, (interpretable_lines(rows),), tables)


def _drawn(counted: Mapping[str, Any] | None) -> Cell:
    """Make the cell of the units of a concept; 0 if there are none."""
    return (
        number_with_interval(counted["units"], counted["units_ci"], 0) if counted else number_with_interval(0, None, 0)
    )


def interpretable_lines(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the share of interpretable units by site, beside that by the published rule alone."""

    def paint(axes: Axes) -> None:
        sites = [row["site"] for row in rows]
        for name, words, colour in (
            ("interpretable", "and beyond chance", "blue"),
            ("by_published_rule", "IoU above 0.05", "muted"),
        ):
            shares = [100 * row[name] / row["units"] for row in rows]
            if rows[0][f"{name}_ci"]:
                ends = [[100 * end / row["units"] for end in row[f"{name}_ci"]] for row in rows]
                axes.fill_between(sites, *np.transpose(ends), color=light(colour), alpha=0.15, linewidth=0)
            axes.plot(sites, shares, "o-", color=light(colour), markersize=4, linewidth=1.4, label=words)
        axes.set(title="Interpretable units", xlabel="site", ylabel="% of the site's units", ylim=(0, 100))
        axes.set_yticks(range(0, 101, 20))
        legend_above(axes, 0.15, "upper center", columns=2)

    return draw("concepts", "Share of interpretable units by site, with and without a test against chance", SIZE, paint)
