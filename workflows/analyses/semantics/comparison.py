"""Comparison of semantics: how well linear maps read the images of each class in both audits."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cawa_core.rendering.sections import Section
from workflows.analyses.semantics import IN_CLOSED_FORM, METHODS, SEMANTICS, SEMANTICS_TABLE
from workflows.analyses.semantics.results import class_scores
from workflows.compare.class_values import (
    ClassValues,
    has_moved,
    noise_words,
    value_changes,
    value_markdown,
    value_tables,
)
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions

LABELS = {"method": "map"}


class SemanticsComparison(Comparison[NoOptions]):
    """Comparison of the mean IoU of the maps in closed form, class by class; a drop means that semantics got worse.

    The images of a class are few and share it, so the mean has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("semantics",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the mean IoU (:func:`~workflows.compare.class_values.value_changes`)."""
        base, new = (mean_ious(audit.manifest.table(SEMANTICS_TABLE.name)) for audit in (pair.base, pair.new))
        return {"semantics": value_changes(ClassValues(base, new, tuple(LABELS)), pair.class_names, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any mean IoU differs."""
        return has_moved(content["semantics"])

    def sections(self, content: Content) -> list[Section]:
        """Show the mean IoU over classes and of each class."""
        changes = content["semantics"]
        lead = (
            "Mean IoU over labels of linear maps of the features with the segmenter's labels, in new images of each "
            f"class; less is worse. {noise_words(changes)}"
        )
        return [Section(SEMANTICS.name, SEMANTICS.title, lead, tables=value_tables(changes, LABELS))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the mean IoU over classes."""
        for text in value_markdown(content["semantics"], LABELS):
            yield SEMANTICS.title, text


def mean_ious(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU of each class by each map in closed form."""
    parts = [class_scores(rows, method).assign(method=METHODS[method]) for method in IN_CLOSED_FORM]
    return pd.concat(parts).assign(measure="mean IoU", stderr=float("nan"), draws=float("nan"))
