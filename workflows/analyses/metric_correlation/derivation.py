"""Derivation of ``metric_correlation``: correlation of total awareness with each class metric (Fig. 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.class_metrics.records import METRICS, ClassMetric
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.intervals import bootstrap_counts, bootstrap_pearson
from cawa_core.statistics.metric_correlation import metric_correlation
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.statistics.verdicts import Estimate, rank_correlation
from cawa_core.tables import PublishedFile, publish, rows_of
from workflows.analyses.class_metrics import CLASS_METRICS_TABLE
from workflows.analyses.metric_correlation import METRIC_CORRELATION_TABLE
from workflows.interface import Derivation, NoOptions
from workflows.options.audit import AuditSpec

Array = NDArray[np.float64]

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
        known = metrics[["class_id", "total_awareness", metric.name]].dropna()
        if len(known) >= FEWEST_CLASSES:
            yield _row(known, metric, spec)


def _row(known: pd.DataFrame, metric: ClassMetric, spec: AuditSpec) -> dict[str, Any]:
    x, y = known[["total_awareness", metric.name]].to_numpy(dtype=np.float64).T
    class_ids = known.class_id.to_numpy()

    def stream(purpose: str) -> np.random.Generator:
        return random_generator(spec.seed, SHARED_CLASS, 0, f"{purpose} {metric.name}")

    def estimate(x: Array, y: Array) -> Estimate:
        resamples = bootstrap_counts(len(x), spec.bootstraps, stream("rank bootstrap"))
        return rank_correlation(x, y, resamples, random_orders(len(x), spec.permutations, stream("permute")))

    correlation = metric_correlation(x, y, metric.expected_sign, estimate)
    interval = bootstrap_pearson(x, y, spec.bootstraps, stream("bootstrap"))
    return {
        "metric": metric.name,
        "pearson": correlation.pearson,
        "spearman": correlation.spearman,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n_classes": len(x),
        "influential": class_ids[correlation.influential].tolist(),
        "pearson_without": correlation.pearson_without,
        "outliers": class_ids[correlation.outliers].tolist(),
        "robust_spearman": correlation.robust.value,
        "robust_ci_low": correlation.robust.low,
        "robust_ci_high": correlation.robust.high,
        "robust_p": correlation.robust.p_value,
        "verdict": correlation.verdict or None,
        "hangs_on": class_ids[correlation.hangs_on].tolist(),
        "robust_without": correlation.robust_without,
    }
