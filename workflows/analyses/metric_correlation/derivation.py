"""Derivation of ``metric_correlation``: correlation of total awareness with each class metric (Fig. 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.class_metrics.records import METRICS
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.correlation import pearson, spearman
from cawa_core.statistics.intervals import bootstrap_pearson
from cawa_core.tables import PublishedFile, publish, rows_of
from workflows.analyses.class_metrics import CLASS_METRICS_TABLE
from workflows.analyses.metric_correlation import METRIC_CORRELATION_TABLE
from workflows.interface import Derivation, NoOptions
from workflows.options.audit import AuditSpec

FEWEST_CLASSES = 3
"""Number of classes below which a correlation is meaningless."""


class MetricCorrelationDerivation(Derivation[NoOptions]):
    """Derivation of ``metric_correlation``."""

    def files(self) -> list[PublishedFile]:
        """Write the correlations over classes."""
        metrics = self.manifest.table(CLASS_METRICS_TABLE.name)
        records = list(metric_correlation_rows(metrics, self.spec))
        if not records:
            return []
        name = METRIC_CORRELATION_TABLE.name
        return list(publish(self.manifest.storage, "all", {name: rows_of(name, records)}, self.audit))


def metric_correlation_rows(metrics: pd.DataFrame, spec: AuditSpec) -> Iterator[dict[str, Any]]:
    """Yield one row for each metric known for at least three classes."""
    for metric in METRICS:
        known = metrics[["total_awareness", metric.name]].dropna().to_numpy(dtype=np.float64)
        if len(known) < FEWEST_CLASSES:
            continue
        x, y = known.T
        random = random_generator(spec.seed, SHARED_CLASS, 0, f"bootstrap {metric.name}")
        interval = bootstrap_pearson(x, y, spec.bootstraps, random)
        yield {
            "metric": metric.name,
            "pearson": float(pearson(x, y)),
            "spearman": float(spearman(x, y)),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n_classes": len(x),
        }
