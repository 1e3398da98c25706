"""Access to the comparisons behind the content of ``compare.json``."""

from __future__ import annotations

from typing import Any

from workflows.analyses import ANALYSES
from workflows.interface import Analysis, Comparison, Content, NoOptions


def judging() -> list[Analysis]:
    """Return the analyses that decide whether new is worse: those that have thresholds."""
    return [analysis for analysis in ANALYSES.values() if analysis.thresholds is not NoOptions]


def comparisons(content: Content) -> list[Comparison[Any]]:
    """Return the comparisons that a content was computed by: first those that judge, then the rest, in order."""
    compared = [ANALYSES[name] for name in content["compared"] if name in ANALYSES]
    compared.sort(key=lambda analysis: analysis.thresholds is NoOptions)
    return [analysis.make_comparison() for analysis in compared]


def judged_rows(content: Content) -> list[Content]:
    """Return the rows that decide whether new is worse, of all analyses."""
    return [row for comparison in comparisons(content) for row in comparison.judged(content)]
