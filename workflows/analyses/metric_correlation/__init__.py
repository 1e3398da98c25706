"""How total awareness correlates with the class metrics, over classes (paper, Sec. 5.4, Fig. 10)."""

from __future__ import annotations

import pyarrow as pa

from cawa_core.tables.schema import F32, I32, TEXT, Table
from workflows.analyses.class_metrics import CLASS_METRICS
from workflows.interface import Analysis

CLASSES = pa.list_(I32)

METRIC_CORRELATION_TABLE = Table(
    "metric_correlation",
    ("metric",),
    {
        "metric": (TEXT, "column of class_metrics that total awareness is correlated with"),
        "pearson": (F32, "Pearson r over classes (Fig. 10)"),
        "spearman": (F32, "rank correlation over classes"),
        "ci_low": (F32, "lower end of the bootstrap 95% interval of pearson"),
        "ci_high": (F32, "upper end of that interval"),
        "n_classes": (I32, "number of classes with both values"),
        "influential": (CLASSES, "classes that pearson rests on most, the most influential first"),
        "pearson_without": (F32, "Pearson r without the influential classes"),
        "outliers": (CLASSES, "classes more than 5 robust standard deviations from the median of either quantity"),
        "robust_spearman": (F32, "rank correlation without the outliers, by which claims are decided"),
        "robust_ci_low": (F32, "lower end of the bootstrap 95% interval of robust_spearman"),
        "robust_ci_high": (F32, "upper end of that interval"),
        "robust_p": (F32, "two-sided permutation p-value of robust_spearman"),
        "verdict": (TEXT, "whether robust_spearman has the sign that the paper expects; null if it expects none"),
        "hangs_on": (CLASSES, "the few classes without which the verdict would be another one, if there are any"),
        "robust_without": (F32, "rank correlation without the outliers and hangs_on"),
    },
)

METRIC_CORRELATION = Analysis(
    "metric_correlation",
    "Correlation of total awareness with class metrics",
    tables=(METRIC_CORRELATION_TABLE,),
    after=(CLASS_METRICS.name,),
    derivation="workflows.analyses.metric_correlation.derivation:MetricCorrelationDerivation",
    results="workflows.analyses.metric_correlation.results:MetricCorrelationResults",
    comparison="workflows.analyses.metric_correlation.comparison:MetricCorrelationComparison",
)
