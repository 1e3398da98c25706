"""Comparison of layouts and strokes: how closely each class shows what was asked for in both audits."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cawa_core.rendering.sections import Section
from workflows.analyses.layouts import LAYOUTS, LAYOUTS_TABLE, OPTIMISED, STROKES_TABLE
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


class LayoutsComparison(Comparison[NoOptions]):
    """Comparison of agreement with layouts and strokes, class by class.

    A class has a few of them, so its mean has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("layouts",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the agreement (:func:`~workflows.compare.class_values.value_changes`)."""
        base, new = (
            agreements(audit.manifest.table(LAYOUTS_TABLE.name), audit.manifest.table(STROKES_TABLE.name))
            for audit in (pair.base, pair.new)
        )
        return {"layouts": value_changes(ClassValues(base, new), pair.class_names, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any agreement differs."""
        return has_moved(content["layouts"])

    def sections(self, content: Content) -> list[Section]:
        """Show the agreement over classes and of each class."""
        changes = content["layouts"]
        lead = (
            "Share of pixels that show the wanted label by the segmenter: of whole layouts that latents were optimised "
            f"for, and of strokes painted on an image. {noise_words(changes)}"
        )
        return [Section(LAYOUTS.name, LAYOUTS.title, lead, tables=value_tables(changes))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the agreement over classes."""
        for text in value_markdown(content["layouts"]):
            yield LAYOUTS.title, text


def agreements(layouts: pd.DataFrame, strokes: pd.DataFrame) -> pd.DataFrame:
    """Return the agreement of each class with layouts and with strokes."""
    optimised = layouts[layouts.way == OPTIMISED]
    parts = [
        ("agreement with layouts", optimised.class_id, optimised.agreeing / optimised.pixels),
        ("agreement with strokes", strokes.class_id, strokes.after / strokes.pixels),
    ]
    values = [pd.DataFrame({"class_id": ids, "value": share, "measure": words}) for words, ids, share in parts]
    by_class = pd.concat(values).groupby(["class_id", "measure"])[["value"]].mean().reset_index()
    return by_class.assign(stderr=float("nan"), draws=float("nan"))
