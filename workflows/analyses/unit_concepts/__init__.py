"""Units against concepts over all classes: overlap, chance, and which units are interpretable (Bau et al.)."""

from __future__ import annotations

import pyarrow as pa

from cawa_core.tables.schema import F32, F64, I32, Table
from workflows.analyses.dissection import COUNTS, DISSECTION, UNIT_AND_CONCEPT
from workflows.interface import Analysis

FEWEST_OVERLAP = 0.05
"""Smallest IoU of an interpretable unit (Bau et al. 2018)."""
LEVEL = 0.05
"""Rate of false discoveries among the units and concepts that exceed chance."""

UNIT_CONCEPTS_TABLE = Table(
    "unit_concepts",
    ("site", "channel", "concept"),
    {
        **UNIT_AND_CONCEPT,
        **COUNTS,
        "iou": (F32, "intersection over union, counts summed over classes"),
        "iou_by_chance": (F32, "the same with both_by_chance for both"),
        "p_value": (F64, "one-sided, of both against its mean and variance by chance, taken as normal"),
        "q_value": (F64, "Benjamini-Hochberg over all units and concepts"),
        "is_best": (pa.bool_(), "whether no other concept has a higher IoU with this unit"),
        "is_interpretable": (pa.bool_(), f"best, IoU above {FEWEST_OVERLAP}, and q_value at most {LEVEL}"),
        "n_classes": (I32, "number of classes whose images show the concept"),
    },
)

UNIT_CONCEPTS = Analysis(
    "unit_concepts",
    "Concepts of units",
    tables=(UNIT_CONCEPTS_TABLE,),
    after=(DISSECTION.name,),
    derivation="workflows.analyses.unit_concepts.derivation:UnitConceptsDerivation",
    results="workflows.analyses.unit_concepts.results:UnitConceptsResults",
    not_compared="the comparison of dissection compares the units of each class",
)
