"""The best edits of each class, in the summary and the report (Fig. 5b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import (
    Photo,
    PhotoRow,
    Section,
    Tables,
    class_names,
    rows_of_shown_classes,
    shown_classes,
)
from cawa_core.tables import Manifest
from workflows.analyses.edits import EDITS, EDITS_TABLE, EditOptions
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples

MEASURE_WORDS = {"change": "change", "locality": "locality", "kept": "class retention", "merit": "merit"}
"""Measures of an edit, and what they are called in the report."""
SUMMARISED = ["change", "locality", "kept"]


class EditsResults(Results[EditOptions]):
    """Edits of single channels."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the best edit of each class."""
        return {"edits": edit_summary(findings.manifest, findings.resamples)}

    def shown(self, manifest: Manifest) -> Tables:
        """Read the edits of the classes that are shown."""
        return {EDITS_TABLE.name: rows_of_shown_classes(manifest, EDITS_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on the best edits of each class."""
        table = tables[EDITS_TABLE.name]
        return [] if table.empty else [edit_section(table, summary)]


def edit_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise the best edit of each class by site: count, change, locality, and retention of the class.

    Values are means over classes of the scores on held-out latents.
    """
    table = manifest.rows(EDITS_TABLE.name, ["class_id", "rank", "site", *SUMMARISED]).to_pandas()
    best = table[table["rank"] == 0].sort_values("class_id")
    if best.empty:
        return None
    return [
        {"site": int(site), "n_classes": len(part), **resamples.means(part[SUMMARISED])}
        for site, part in best.groupby("site")
    ]


def edit_section(table: pd.DataFrame, summary: Content) -> Section:
    """Build the section on the best edits of each class."""
    names = class_names(summary)
    rows = []
    pictured = table[table.pngs.notna()]
    for class_id in shown_classes(sorted(pictured.class_id.unique())):
        best = records(pictured[pictured.class_id == class_id].sort_values("rank"))
        photos = (
            Photo.of_strip(
                row["pngs"],
                f"{names[class_id]}, channel {row['channel']} at site {row['site']} times 0, 1, 2 and 3",
                f"site {row['site']}, channel {row['channel']}: {row['kept']:.2f}",
            )
            for row in best
        )
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    columns = {
        "class": "class",
        "rank": "rank",
        "site": "site",
        "channel": "channel",
        **{
            column: heading
            for measure, words in MEASURE_WORDS.items()
            for column, heading in ((measure, words), (f"{measure}_stderr", "±"))
        },
    }
    named = records(table.assign(**{"class": [names[class_id] for class_id in table.class_id]}))
    lead = (
        "An edit multiplies one channel of one site; the images show it times 0, 1 (unchanged), 2 and 3. Shown are "
        "the three best edits of each class, ranked by the product (merit) of how much they change its images, how "
        "local the change is, and how well the class is retained. They were chosen among the "
        f"{table.n_candidates.max()} channels most aware of the class or of the latent code, on {table.n_tried.max()} "
        f"latents; images and scores use {table.n_samples.max()} held-out latents. Below each strip are the site, the "
        "channel, and the mean class retention when the channel is multiplied by 3, which is min(1, p after / p "
        "before) for the probability p of the class."
    )
    headings = ("best", "second", "third")
    best_edits = table_of("The best edits of each class (±: standard errors over latents)", columns, named)
    return Section(EDITS.name, "Single-channel edits", lead, (), (best_edits,), headings, tuple(rows))
