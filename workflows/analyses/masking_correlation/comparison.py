"""Changes of the correlation of awareness with masking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section
from cawa_core.statistics.many_tests import adjusted
from workflows.analyses.masking_correlation import MASKING_CORRELATION_TABLE
from workflows.compare.correlations import correlation_section, correlations_moved
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions


class MaskingCorrelationComparison(Comparison[NoOptions]):
    """Comparison of the smoothed correlations, beside the standard deviation of their nulls."""

    ENTRIES = ("correlations.masking",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare r by predictor and target; see :func:`masking_correlation_changes`."""
        tables = pair.tables(MASKING_CORRELATION_TABLE.name)
        return {"correlations.masking": masking_correlation_changes(*tables, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any correlation differs."""
        return any(row["mean_change"] for row in content["correlations"]["masking"])

    def sections(self, content: Content) -> list[Section]:
        """Show r by predictor and target."""
        columns = {
            "predictor": "predictor",
            "target": "target",
            "base": "base",
            "new": "new",
            "mean_change": "change",
            "null_std": "null sd of one r",
            "n_pairs": "class-site pairs",
            "n_moved": "moved",
        }
        rows = content["correlations"]["masking"]
        return correlation_section(table_of("Awareness with masking, smoothed r", columns, rows)) if rows else []

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the predictors and targets with pairs that moved."""
        rows = content["correlations"]["masking"]
        columns = ["predictor", "target", "base", "new", "mean_change", "null_std", "n_moved", "n_pairs"]
        moved = [row for row in rows if row["n_moved"]]
        if rows:
            yield from correlations_moved("Awareness with masking, over class-site pairs:", moved, columns)


def masking_correlation_changes(base: pd.DataFrame, new: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    """Compare the smoothed r of awareness with masking, by predictor and target, over classes and sites.

    A class-site pair has moved if r changed by more than the standard deviations of the permutation nulls allow
    (Benjamini-Hochberg over all pairs). The r of a strong correlation varies less than under the null, so that the
    test is conservative there.

    Args:
        base, new: table ``masking_correlation``.
        level: false discovery rate.
    """
    key = list(MASKING_CORRELATION_TABLE.key)
    both = base.merge(new, on=key, suffixes=("_base", "_new")).astype({"site": int})
    if not len(both):
        return []
    change = both.pearson_smoothed_new - both.pearson_smoothed_base
    spread = np.hypot(both.null_std_base, both.null_std_new)
    both = both.assign(change=change, p_value=np.where(change == 0, 1.0, 2 * norm.sf(change.abs() / spread)))
    both["moved"] = adjusted(both.p_value.to_numpy(dtype=np.float64)) <= level
    means = both.groupby(["predictor", "target"], as_index=False).agg(
        base=("pearson_smoothed_base", "mean"),
        new=("pearson_smoothed_new", "mean"),
        mean_change=("change", "mean"),
        null_std=("null_std_base", "mean"),
        n_pairs=("change", "count"),
        n_moved=("moved", "sum"),
    )
    return records(means)
