"""Interpretable units in the summary and the report: the things that channels draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.tables import Manifest
from workflows.analyses.unit_concepts import FEWEST_OVERLAP, LEVEL, UNIT_CONCEPTS, UNIT_CONCEPTS_TABLE
from workflows.interface import Content, Findings, NoOptions, Results

UNITS_OF_A_CONCEPT = 5
"""Units that the page lists for each concept."""


class UnitConceptsResults(Results[NoOptions]):
    """Interpretable units by site and concept."""

    def summary(self, findings: Findings) -> Content:
        """Count the interpretable units of each site, and those of each concept."""
        return {"concepts": concepts_by_site(best_concepts(findings.manifest))}

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


def concepts_by_site(best: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Count units by site.

    Args:
        best: :func:`best_concepts`.

    Returns:
        One row per site: ``units``; ``interpretable`` ones; those ``by_published_rule`` alone, IoU above 0.05; the
        ``detected`` concepts, those of any interpretable unit; and the number of units of each (``by_concept``). None
        without dissection.
    """
    if best.empty:
        return None
    rows = []
    for site in sorted(best.site.unique()):
        units = best[best.site == site]
        interpretable = units[units.is_interpretable]
        by_concept = interpretable.concept.value_counts()
        rows.append(
            {
                "site": int(site),
                "units": len(units),
                "interpretable": len(interpretable),
                "by_published_rule": int((units.iou > FEWEST_OVERLAP).sum()),
                "detected": len(by_concept),
                "by_concept": {name: int(by_concept[name]) for name in sorted(by_concept.index)},
            }
        )
    return rows


def concept_section(best: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> Section:
    """Build the section on concepts.

    Args:
        best: :func:`best_concepts`.
        rows: :func:`concepts_by_site`.
    """
    concepts = sorted({name for row in rows for name in row["by_concept"]})
    columns = {
        "site": "site",
        "units": "units",
        "interpretable": "interpretable",
        "by_published_rule": "IoU above 0.05",
        "detected": "concepts",
        **{f"of {name}": name for name in concepts},
    }
    by_site = [{**row, **{f"of {name}": row["by_concept"].get(name, 0) for name in concepts}} for row in rows]
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
        table_of("Interpretable units by site, and what they draw", columns, by_site),
        table_of(
            f"The {UNITS_OF_A_CONCEPT} interpretable units of highest IoU of each concept", unit_columns, strongest
        ),
    )
    lead = (
        "A unit is a channel of a site. It is on where its features, enlarged to the image, exceed a threshold, which "
        "is chosen on other images; IoU (intersection over union) compares these pixels with those of a concept. A "
        "unit is interpretable if its best IoU is above 0.05, as published, and its overlap exceeds that with the "
        "label maps of other images of the same class, at a rate of false discoveries of "
        f"{LEVEL:.0%} among all units and concepts. Large concepts, such as a background, overlap with any unit: the "
        "published rule alone counts these too."
    )
    return Section(UNIT_CONCEPTS.name, "What channels draw", lead, (interpretable_lines(rows),), tables)


def interpretable_lines(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the share of interpretable units by site, beside that by the published rule alone."""

    def paint(axes: Axes) -> None:
        sites = [row["site"] for row in rows]
        for name, words, colour in (
            ("interpretable", "and beyond chance", "blue"),
            ("by_published_rule", "IoU above 0.05", "muted"),
        ):
            shares = [100 * row[name] / row["units"] for row in rows]
            axes.plot(sites, shares, "o-", color=light(colour), markersize=4, linewidth=1.4, label=words)
        axes.set(title="Interpretable units", xlabel="site", ylabel="% of the site's units", ylim=(0, 100))
        axes.set_yticks(range(0, 101, 20))
        legend_above(axes, 0.15, "upper center", columns=2)

    return draw("concepts", "Share of interpretable units by site, with and without a test against chance", SIZE, paint)
