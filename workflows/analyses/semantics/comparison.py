"""Comparison of semantics: how well linear maps read the images of each class in both audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.semantics import IN_CLOSED_FORM, METHODS, SEMANTICS, SEMANTICS_TABLE
from workflows.analyses.semantics.results import class_scores
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import noise_words
from workflows.interface import Content


class SemanticsComparison(ClassComparison):
    """Comparison of the mean IoU of the maps in closed form, class by class; a drop means that semantics got worse.

    The images of a class are few and share it, so the mean has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("semantics",)
    ANALYSIS = SEMANTICS
    LABELS: ClassVar[Mapping[str, str]] = {"method": "map"}

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the mean IoU of each class by each map in closed form."""
        return mean_ious(manifest.table(SEMANTICS_TABLE.name))

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        return (
            "Mean IoU over labels of linear maps of the features with the segmenter's labels, in new images of each "
            f"class; less is worse. {noise_words(changes)}"
        )


def mean_ious(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU of each class by each map in closed form."""
    parts = [class_scores(rows, method).assign(method=METHODS[method]) for method in IN_CLOSED_FORM]
    return pd.concat(parts).assign(measure="mean IoU", stderr=float("nan"), draws=float("nan"))
