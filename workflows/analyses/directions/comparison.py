"""Comparison of directions: how far controlling sets move each concept in both audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd

from cawa_core.tables import Manifest
from workflows.analyses.directions import DIRECTIONS, DIRECTIONS_TABLE, SETS
from workflows.compare.class_comparison import ClassComparison
from workflows.compare.class_values import noise_words
from workflows.interface import Content


class DirectionsComparison(ClassComparison):
    """Comparison of what controlling sets do, class by class; the sets of each audit are its own."""

    ENTRIES = ("directions",)
    ANALYSIS = DIRECTIONS
    LABELS: ClassVar[Mapping[str, str]] = {"space": "space", "way": "set", "concept": "concept"}

    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the change of each concept by its controlling sets, at the shortest step of each audit."""
        rows = manifest.table(DIRECTIONS_TABLE.name)
        chosen = rows[rows.way.isin(SETS) & np.isclose(rows.strength, rows.strength.min() if len(rows) else 0)]
        columns = chosen[["class_id", "space", "way", "concept"]]
        return columns.assign(
            measure="change of the concept",
            value=chosen.change_size.astype(float),
            stderr=float("nan"),
            draws=float("nan"),
        )

    def lead(self, changes: Content) -> str:
        """Say what the values are."""
        return (
            "Change of a concept, in its standard deviations, after the shortest step along its controlling set. Each "
            "audit searches for its own sets, once for all classes, and tests over classes do not cover that choice. "
            f"{noise_words(changes)}"
        )
