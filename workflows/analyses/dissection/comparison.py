"""Comparison of what units draw: the mean overlap beyond chance of each class, by site."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cawa_core.rendering.sections import Section
from workflows.analyses.dissection import DISSECTION, DISSECTION_TABLE
from workflows.analyses.dissection.results import largest_gains
from workflows.compare.class_values import (
    NEUTRAL,
    ClassValues,
    has_moved,
    noise_words,
    value_changes,
    value_markdown,
    value_tables,
)
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions

LABELS = {"site": "site"}


class DissectionComparison(Comparison[NoOptions]):
    """Comparison of the overlap of units with their best concepts, by class and site.

    The units of a class share its images, so their spread does not tell the noise of the mean: it has no standard
    error, and changes are tested over classes.
    """

    ENTRIES = ("dissection",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the overlaps (:func:`~workflows.compare.class_values.value_changes`)."""
        columns = ["class_id", "site", "channel", "iou", "iou_by_chance"]
        base, new = (
            mean_gains(audit.manifest.rows(DISSECTION_TABLE.name, columns).to_pandas())
            for audit in (pair.base, pair.new)
        )
        return {"dissection": value_changes(ClassValues(base, new, tuple(LABELS)), pair.class_names, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any overlap differs."""
        return has_moved(content["dissection"])

    def sections(self, content: Content) -> list[Section]:
        """Show the overlap over classes and of each class."""
        changes = content["dissection"]
        lead = (
            "Mean over the units of a site of the largest difference between the IoU with a concept and that by "
            f"chance. {noise_words(changes)} {NEUTRAL}"
        )
        return [Section(DISSECTION.name, DISSECTION.title, lead, tables=value_tables(changes, LABELS))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the overlap over classes."""
        for text in value_markdown(content["dissection"], LABELS):
            yield DISSECTION.title, text


def mean_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each class and site, the mean over units of the largest IoU beyond chance."""
    values = largest_gains(rows).groupby(["class_id", "site"]).gain.mean().rename("value").reset_index()
    return values.assign(measure="overlap beyond chance", stderr=float("nan"), draws=float("nan"))
