"""Changes of the correlation of total awareness with the class metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section
from workflows.analyses.metric_correlation import METRIC_CORRELATION_TABLE
from workflows.compare.correlations import correlation_section, correlations_moved
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions


class MetricCorrelationComparison(Comparison[NoOptions]):
    """Comparison of the correlations by their bootstrap intervals."""

    ENTRIES = ("correlations.metrics",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare r by metric; see :func:`metric_correlation_changes`."""
        return {"correlations.metrics": metric_correlation_changes(*pair.tables(METRIC_CORRELATION_TABLE.name))}

    def has_moved(self, content: Content) -> bool:
        """Return whether any correlation differs."""
        return any(row["change"] for row in content["correlations"]["metrics"])

    def sections(self, content: Content) -> list[Section]:
        """Show r of each metric with its interval."""
        columns = {
            "metric": "metric",
            "pearson_base": "base",
            "ci_low_base": "from",
            "ci_high_base": "to",
            "pearson_new": "new",
            "ci_low_new": "from ",
            "ci_high_new": "to ",
            "change": "change",
            "moved": "moved",
        }
        rows = content["correlations"]["metrics"]
        caption = "Total awareness with class metrics, 95% intervals"
        return correlation_section(table_of(caption, columns, rows)) if rows else []

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the metrics whose intervals do not overlap."""
        rows = content["correlations"]["metrics"]
        columns = ["metric", "pearson_base", "ci_low_base", "ci_high_base", "pearson_new", "ci_low_new", "ci_high_new"]
        moved = [row for row in rows if row["moved"]]
        caption = "Total awareness with class metrics, where the 95% intervals do not overlap:"
        if rows:
            yield from correlations_moved(caption, moved, columns)


def metric_correlation_changes(base: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare Pearson's r of total awareness with each metric, with both bootstrap 95% intervals.

    ``moved``: the intervals do not overlap, which is stricter than a test at 0.05.

    Args:
        base, new: table ``metric_correlation``.
    """
    columns = ["metric", "pearson", "ci_low", "ci_high", "n_classes"]
    both = base[columns].merge(new[columns], on="metric", suffixes=("_base", "_new"))
    both["change"] = both.pearson_new - both.pearson_base
    both["moved"] = (both.ci_low_new > both.ci_high_base) | (both.ci_high_new < both.ci_low_base)
    return records(both)
