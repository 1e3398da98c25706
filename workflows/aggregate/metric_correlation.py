"""Rows of ``metric_correlation``: correlation of total awareness with each class metric (Fig. 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.class_metrics.records import METRICS
from cawa_core.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.correlation import pearson, spearman
from cawa_core.statistics.intervals import bootstrap_pearson
from workflows.spec import AuditSpec


def metric_correlation_rows(metrics: pd.DataFrame, spec: AuditSpec) -> Iterator[dict[str, Any]]:
    """Yield one row for each metric known for at least three classes."""
    for index, metric in enumerate(METRICS):
        known = metrics[["total_awareness", metric]].dropna().to_numpy(dtype=np.float64)
        if len(known) < 3:
            continue
        x, y = known.T
        random = random_generator(spec.seed, SHARED_CLASS, index, "bootstrap")
        interval = bootstrap_pearson(x, y, spec.bootstraps, random)
        yield {
            "metric": metric,
            "pearson": float(pearson(x, y)),
            "spearman": float(spearman(x, y)),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n_classes": len(x),
        }
