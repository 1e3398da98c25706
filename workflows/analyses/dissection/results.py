"""Dissection in the summary and the report: how much the units of each class draw single concepts."""

from __future__ import annotations

import pandas as pd

from cawa_core.rendering.class_facts import ClassFacts, ClassValue
from cawa_core.rendering.sections import Tables
from cawa_core.tables import Manifest
from workflows.analyses.dissection import DISSECTION, DISSECTION_TABLE, DissectionOptions
from workflows.interface import Content, Results

GAINS = "overlaps of the units of each class beyond chance"
"""Name of what is computed from the table, which is too large to be shown."""
MEANING = "mean over all units of the largest IoU with a concept, less that by chance"


class DissectionResults(Results[DissectionOptions]):
    """Overlap of the units of each class with concepts."""

    def shown(self, manifest: Manifest) -> Tables:
        """Read the mean overlap of the units of each class."""
        columns = ["class_id", "site", "channel", "iou", "iou_by_chance"]
        rows = manifest.rows(DISSECTION_TABLE.name, columns).to_pandas()
        return {GAINS: largest_gains(rows).groupby("class_id").gain.mean().rename("gain").reset_index()}

    def class_facts(self, tables: Tables, summary: Content) -> ClassFacts | None:  # noqa: ARG002
        """Return the mean overlap of the units of each class."""
        gains = tables[GAINS]
        if gains.empty:
            return None
        by_class = dict(zip(gains.class_id.tolist(), gains.gain.tolist(), strict=True))
        return ClassFacts((ClassValue(DISSECTION.name, "overlap with concepts", MEANING, "", by_class),))


def largest_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the largest IoU beyond chance of each class, site and channel, as ``gain``.

    Args:
        rows: columns ``class_id``, ``site``, ``channel``, ``iou`` and ``iou_by_chance`` of the table ``dissection``.
    """
    gains = rows.assign(gain=rows.iou.astype(float) - rows.iou_by_chance.astype(float))
    largest: pd.DataFrame = gains.groupby(["class_id", "site", "channel"]).gain.max().reset_index()
    return largest
