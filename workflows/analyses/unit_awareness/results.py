"""Awareness and concepts of units in the summary and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cawa_core.errors import counted
from cawa_core.rendering.claims import NOTE, Claim, signed
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.statistics.verdicts import SIGNIFICANT
from cawa_core.tables import Manifest
from workflows.analyses.unit_awareness import UNIT_AWARENESS, UNIT_AWARENESS_CORRELATION_TABLE
from workflows.interface import Content, Findings, NoOptions, Results

WORDS = {
    "category_awareness": "category awareness",
    "latent_awareness": "latent awareness",
    "expected_activation": "expected activation",
    "masking_effect": "masking effect",
}
OVERLAP = "iou_beyond_chance"
TARGET_WORDS = {OVERLAP: "overlap beyond chance", "weight": "optimised weight"}
COLOURS = dict(zip(WORDS, ("blue", "red", "amber", "green"), strict=True))
"""Colour of each line, by its name in the palette."""


class UnitAwarenessResults(Results[NoOptions]):
    """Rank correlations of awareness and masking effects with the overlap of units and concepts."""

    def summary(self, findings: Findings) -> Content:
        """Return the correlations by site and predictor."""
        table = findings.manifest.table(UNIT_AWARENESS_CORRELATION_TABLE.name)
        return {"unit_awareness": records(table) if len(table) else None}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Note at how many sites category awareness goes with concepts."""
        rows = [row for row in summary.get("unit_awareness") or () if row["predictor"] == "category_awareness"]
        known = [row for row in rows if row["target"] == OVERLAP and _is_known(row["spearman"])]
        if not known:
            return []
        higher, lower = (
            [row for row in known if row["q_value"] <= SIGNIFICANT and sign * row["spearman"] > 0] for sign in (1, -1)
        )
        values = ", ".join(signed(row["spearman"]) for row in known)
        evidence = (
            "Rank correlation over the channels of each site, from the first to the last, of mean |category awareness| "
            f"with the best IoU beyond chance: {values} (permutations, Benjamini-Hochberg at {SIGNIFICANT:.2f})."
        )
        claim = f"At none of the {counted(len(known), 'site')} does class awareness go with overlap with concepts."
        if higher or lower:
            claim = (
                f"At {len(higher)} of {counted(len(known), 'site')}, channels that are more aware of the class overlap "
                f"more with concepts, and at {len(lower)} less."
            )
        return [Claim(claim, NOTE, evidence, "Dissection")]

    def shown(self, manifest: Manifest) -> Tables:
        """Read the correlations."""
        name = UNIT_AWARENESS_CORRELATION_TABLE.name
        return {name: manifest.table(name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        table = tables[UNIT_AWARENESS_CORRELATION_TABLE.name]
        return [] if table.empty else [correlation_section(table)]


def correlation_section(table: pd.DataFrame) -> Section:
    """Build the section.

    Args:
        table: ``unit_awareness_correlation``.
    """
    rows = [
        {**row, "predictor": WORDS[row["predictor"]], "target": TARGET_WORDS[row["target"]]}
        for row in records(table)
        if _is_known(row["spearman"])
    ]
    columns = {
        "site": "site",
        "predictor": "predictor",
        "target": "with",
        "spearman": "rank r",
        "null_std": "standard deviation by chance",
        "p_value": "p",
        "q_value": "q",
        "n_channels": "channels",
    }
    lead = (
        "Rank correlation over the channels of a site: of their awareness and masking effect, averaged over classes, "
        "with their best IoU beyond chance, and with their weight in the set of units that was optimised for that "
        "concept, where there is one. Above 0, the channels that respond more to the class (or the latent code, or "
        "that matter more when masked) overlap more with single concepts, or do more for them. p comes from random "
        "orders of the channels, q is Benjamini-Hochberg's over all sites and predictors."
    )
    name = "Awareness and concepts"
    return Section(
        UNIT_AWARENESS.name,
        name,
        lead,
        (correlation_lines(records(table)),),
        (table_of("Rank correlation with the overlap of units and concepts, and with their effect", columns, rows),),
    )


def correlation_lines(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the rank correlation of each predictor by site."""

    def paint(axes: Axes) -> None:
        for predictor, words in WORDS.items():
            of_predictor = [row for row in rows if row["predictor"] == predictor and row["target"] == OVERLAP]
            known = [row for row in of_predictor if _is_known(row["spearman"])]
            if known:
                x = [row["site"] for row in known]
                y = [row["spearman"] for row in known]
                axes.plot(x, y, "o-", color=light(COLOURS[predictor]), markersize=4, linewidth=1.4, label=words)
        axes.axhline(0, color=light("rule"), linewidth=0.8)
        axes.set(title="Rank r with the overlap beyond chance", xlabel="site", ylabel="rank r")
        legend_above(axes, 0.3, "upper center", columns=2)

    return draw("unit-awareness", "Rank correlation of each predictor with the overlap of units, by site", SIZE, paint)


def _is_known(value: float | None) -> bool:
    return value is not None and value == value  # NaN differs from itself
