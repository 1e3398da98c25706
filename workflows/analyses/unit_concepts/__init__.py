"""Units against concepts over all classes: overlap, chance, and which units are interpretable (Bau et al.)."""

from __future__ import annotations

import pyarrow as pa

from cawa_core.tables.schema import F32, F64, I32, SITE, TEXT, Table
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
        "p_value": (F64, "one-sided, of both against a Pearson type III law with its three moments by chance"),
        "q_value": (F64, "Benjamini-Hochberg over all units and concepts"),
        "is_best": (pa.bool_(), "whether no other concept has a higher IoU with this unit"),
        "is_interpretable": (pa.bool_(), f"best, IoU above {FEWEST_OVERLAP}, and q_value at most {LEVEL}"),
        "n_classes": (I32, "number of classes whose images show the concept"),
    },
)

INTERVAL = "end of its 95% interval, bootstrap over classes; null for fewer than two classes"

SITE_UNITS_TABLE = Table(
    "site_units",
    ("site",),
    {
        **SITE,
        "units": (I32, "number of units"),
        "interpretable": (I32, "interpretable units"),
        "interpretable_low": (F32, f"lower {INTERVAL}"),
        "interpretable_high": (F32, f"upper {INTERVAL}"),
        "by_published_rule": (I32, f"units whose best IoU is above {FEWEST_OVERLAP}, whatever it is by chance"),
        "by_published_rule_low": (F32, f"lower {INTERVAL}"),
        "by_published_rule_high": (F32, f"upper {INTERVAL}"),
        "detected": (I32, "concepts of interpretable units"),
        "detected_low": (F32, f"lower {INTERVAL}"),
        "detected_high": (F32, f"upper {INTERVAL}"),
    },
)

SITE_CONCEPTS_TABLE = Table(
    "site_concepts",
    ("site", "concept"),
    {
        **SITE,
        "concept": (TEXT, "name of the concept"),
        "units": (I32, "interpretable units whose best concept it is"),
        "units_low": (F32, f"lower {INTERVAL}"),
        "units_high": (F32, f"upper {INTERVAL}"),
    },
)

UNIT_CONCEPTS = Analysis(
    "unit_concepts",
    "Concepts of units",
    tables=(UNIT_CONCEPTS_TABLE, SITE_UNITS_TABLE, SITE_CONCEPTS_TABLE),
    after=(DISSECTION.name,),
    derivation="workflows.analyses.unit_concepts.derivation:UnitConceptsDerivation",
    results="workflows.analyses.unit_concepts.results:UnitConceptsResults",
    not_compared="the comparison of dissection compares the units of each class",
)
