"""Top channels that pairs of classes share, and whether similar classes share more (paper, Fig. 5a)."""

from __future__ import annotations

import dataclasses

from cawa_core.options import Count, option
from cawa_core.tables.schema import CRITERION, F32, I16, I32, Table
from workflows.analyses.awareness import AWARENESS
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class ClassOverlapOptions:
    """Options of the analysis ``class_overlap``."""

    overlap_k: tuple[Count, ...] = option(
        (10, 60), "Sizes k of the sets of top channels whose overlap between classes is measured.", is_distinct=True
    )


CLASS_OVERLAP_TABLE = Table(
    "class_overlap",
    ("site", "k", "criterion", "class_a", "class_b"),
    {
        "site": (I16, "index of the site; -1: the channels of all sites together"),
        "k": (I32, "size of the sets of top channels"),
        **CRITERION,
        "class_a": (I32, "first class"),
        "class_b": (I32, "second class, after the first"),
        "overlap": (F32, "share of the top channels that both classes have: |S_a ∩ S_b| / k"),
        "overlap_by_chance": (F32, "overlap expected by chance: k / channels"),
    },
)

CLASS_OVERLAP = Analysis(
    "class_overlap",
    "Overlap of classes",
    options=ClassOverlapOptions,
    tables=(CLASS_OVERLAP_TABLE,),
    after=(AWARENESS.name,),
    derivation="workflows.analyses.class_overlap.derivation:ClassOverlapDerivation",
    results="workflows.analyses.class_overlap.results:ClassOverlapResults",
    not_compared="the comparison of awareness compares the top channels of each class",
)
