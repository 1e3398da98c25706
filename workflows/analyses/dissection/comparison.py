"""Comparison of what units draw: the mean overlap beyond chance of each class, by site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.dissection import DISSECTION, DISSECTION_TABLE
from workflows.analyses.dissection.results import largest_gains
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import NEUTRAL, noise_words
from workflows.interface import Content


class DissectionComparison(ClassComparison):
    """Comparison of the overlap of units with their best concepts, by class and site.

    The units of a class share its images, so their spread does not tell the noise of the mean: it has no standard
    error, and changes are tested over classes.
    """

    ENTRIES = ("dissection",)
    ANALYSIS = DISSECTION
    LABELS: ClassVar[Mapping[str, str]] = {"site": "site"}

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the overlap of units with their best concepts, by class and site."""
        columns = ["class_id", "site", "channel", "iou", "iou_by_chance"]
        return mean_gains(manifest.rows(DISSECTION_TABLE.name, columns).to_pandas())

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        return (
            "Mean over the units of a site of the largest difference between the IoU with a concept and that by "
            f"chance. {noise_words(changes)} {NEUTRAL}"
        )


def mean_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each class and site, the mean over units of the largest IoU beyond chance."""
    values = largest_gains(rows).groupby(["class_id", "site"]).gain.mean().rename("value").reset_index()
    return values.assign(measure="overlap beyond chance", stderr=float("nan"), draws=float("nan"))
