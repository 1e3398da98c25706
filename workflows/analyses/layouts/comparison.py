"""Comparison of layouts and strokes: how closely each class shows what was asked for in both audits."""

from __future__ import annotations

import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.layouts import LAYOUTS, OPTIMISED
from workflows.analyses.layouts.results import tables_without_pictures
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import noise_words
from workflows.interface import Content


class LayoutsComparison(ClassComparison):
    """Comparison of agreement with layouts and strokes, class by class.

    A class has a few of them, so its mean has no standard error, and changes are tested over classes.
    """

    ENTRIES = ("layouts",)
    ANALYSIS = LAYOUTS

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the agreement of each class with layouts and with strokes."""
        return agreements(*tables_without_pictures(manifest))

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        return (
            "Share of pixels that show the wanted label by the segmenter: of whole layouts that latents were optimised "
            f"for, and of strokes painted on an image. {noise_words(changes)}"
        )


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
