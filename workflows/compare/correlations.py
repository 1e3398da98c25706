"""Changes of correlations: of awareness with masking, and of total awareness with the class metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from cawa_core.rendering.html_tables import records
from cawa_core.table_schema import TABLES
from workflows.compare.metrics import adjusted


def masking_correlation_changes(base: pd.DataFrame, new: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    """Compare the smoothed r of awareness with masking, by predictor and target, over classes and sites.

    A class-site pair has moved if r changed by more than the standard deviations of the permutation nulls allow
    (Benjamini-Hochberg over all pairs). The r of a strong correlation varies less than under the null, so that the
    test is conservative there.

    Args:
        base, new: table ``masking_correlation``.
        level: false discovery rate.
    """
    key = list(TABLES["masking_correlation"].key)
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


def awareness_changes(base: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the relative change of each class's total awareness, which has no standard error.

    At affine sites it is a closed form, so any change comes from the weights; at other sites it is sampled and varies
    with the seed (:attr:`workflows.compare.pairing.Pair.total_is_exact`).

    Args:
        base, new: table ``class_metrics``.
    """
    columns = ["class_id", "class_name", "total_awareness"]
    both = base[columns].merge(new[columns[::2]], on="class_id", suffixes=("_base", "_new"))
    both["relative_change"] = both.total_awareness_new / both.total_awareness_base - 1
    return records(both)
