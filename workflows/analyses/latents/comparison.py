"""Comparison of the effects of dimensions: how strongly each concept responds to them in both audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.latents import LATENTS, LATENTS_TABLE
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import noise_words
from workflows.interface import Content


class LatentsComparison(ClassComparison):
    """Comparison of the size of effects, class by class; single dimensions of two generators do not correspond."""

    ENTRIES = ("latents",)
    ANALYSIS = LATENTS
    LABELS: ClassVar[Mapping[str, str]] = {"space": "space", "concept": "concept"}

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the root mean square effect size of the dimensions of each space on each concept."""
        rows = manifest.table(LATENTS_TABLE.name)
        squares = rows.assign(square=np.square(rows.effect_size.astype(float)))
        by_class = squares.groupby(["class_id", "space", "concept"])[["square"]].mean().reset_index()
        values = by_class.assign(value=np.sqrt(by_class.square), measure="size of effects").drop(columns="square")
        return values.assign(stderr=float("nan"), draws=float("nan"))

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        return (
            "Root mean square over the dimensions of a space of their effect sizes: how strongly a concept responds to "
            f"single dimensions. {noise_words(changes)}"
        )
