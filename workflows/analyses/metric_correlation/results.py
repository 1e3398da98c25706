"""Whether classes of high total awareness look better and vary less (Sec. 5.4, Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import counted
from cawa_core.rendering.claims import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    Claim,
    real_images_in_words,
    side,
    signed,
)
from cawa_core.rendering.figures import MOST_DOTS, MOST_NUMBERS, SIZE, Array, Picture, draw
from cawa_core.rendering.glyphs import shortened
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from workflows.analyses.class_metrics import CLASS_METRICS_TABLE
from workflows.analyses.metric_correlation import METRIC_CORRELATION, METRIC_CORRELATION_TABLE
from workflows.interface import Content, Findings, NoOptions, Results

Rows = Sequence[Mapping[str, Any]]


class MetricCorrelationResults(Results[NoOptions]):
    """Correlations of total awareness with the class metrics.

    Its section draws the metrics of each class, which :mod:`workflows.analyses.class_metrics.results` reads.
    """

    def summary(self, findings: Findings) -> Content:
        """Return the correlations."""
        return {"metric_correlation": records(findings.manifest.table(METRIC_CORRELATION_TABLE.name)) or None}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether total awareness goes with quality and with little diversity."""
        rows = summary.get("metric_correlation")
        return quality_claims(rows, summary["n_real"]) if rows else []

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on Fig. 10."""
        rows = summary["metric_correlation"]
        metrics = tables[CLASS_METRICS_TABLE.name]
        return [] if not rows or metrics.empty else [awareness_section(rows, metrics)]


def quality_claims(rows: Rows, n_real: Sequence[int]) -> list[Claim]:
    """Decide whether each metric's correlation with total awareness has the sign that the paper expects.

    The claim holds in part if any metric supports it, and does not hold if one contradicts it and none supports it.

    Args:
        rows: correlations by metric.
        n_real: fewest and most real images of a class.
    """
    by_metric = {row["metric"]: row for row in rows}
    parts = []
    verdicts = []
    for metric in METRICS:
        row = by_metric.get(metric.name)
        if row is not None and metric.expected_sign:
            verdicts.append(side([row["ci_low"], row["ci_high"]], metric.expected_sign))
            parts.append(f"{metric.heading} {_r_in_words(row)}")
    if not parts:
        return []
    if FAILS in verdicts:
        verdict = IN_PART if HOLDS in verdicts else FAILS
    else:
        verdict = HOLDS if set(verdicts) == {HOLDS} else IN_PART if HOLDS in verdicts else OPEN
    n = max(row["n_classes"] for row in rows)
    evidence = (
        f"Pearson r with total awareness over {counted(n, 'class')}, with bootstrap 95% intervals: {', '.join(parts)}."
    )
    evidence += real_images_in_words(*n_real)
    claim = "Classes with high total awareness look better and vary less."
    return [Claim(claim, verdict, evidence, "Sec. 5.4, Fig. 10")]


def _r_in_words(row: Mapping[str, Any]) -> str:
    return f"{signed(row['pearson'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"


def awareness_section(rows: Rows, metrics: pd.DataFrame) -> Section:
    """Build the section on Fig. 10: metrics against total awareness, one dot per class.

    Args:
        rows: correlations by metric.
        metrics: table ``class_metrics``.
    """
    by_metric = {row["metric"]: row for row in rows}
    names = [shortened(name) for name in metrics.class_name]
    awareness = metrics.total_awareness.to_numpy()
    pictures = [
        metric_scatter(
            f"metric-{metric.name}",
            metric.heading,
            awareness,
            metrics[metric.name].to_numpy(dtype=np.float64),
            names,
            _r_in_words(by_metric[metric.name]),
        )
        for metric in METRICS
        if metric.expected_sign and metric.name in by_metric
    ]
    headings = {metric.name: metric.heading for metric in METRICS}
    columns = {
        "metric": "metric",
        "pearson": "r",
        "ci_low": "95% from",
        "ci_high": "to",
        "spearman": "rank r",
        "n_classes": "n",
    }
    named = [{**row, "metric": headings.get(row["metric"], row["metric"])} for row in rows]
    table = table_of("Correlation with total awareness over classes", columns, named)
    lead = (
        "The total awareness of a class is the sum of |category awareness| over all channels. The figures show the "
        "metrics for which the paper expects a correlation: classes with high total awareness should look better and "
        "vary less. Intervals are bootstrap intervals over classes. The plot of two values of every class, in the "
        "section on classes, tells which class each dot is."
    )
    return Section(METRIC_CORRELATION.name, "Class metrics and total awareness", lead, tuple(pictures), (table,))


def metric_scatter(name: str, metric: str, awareness: Array, values: Array, labels: Sequence[str], r: str) -> Picture:
    """Draw one metric against total awareness, one dot per class (Fig. 10)."""

    def paint(axes: Axes) -> None:
        few = len(labels) <= MOST_DOTS
        axes.plot(awareness, values, "o" if few else ".", color=light("blue"), markersize=5 if few else 2)
        if len(labels) <= MOST_NUMBERS:
            for place, row in enumerate(np.argsort(awareness)):
                dot = (awareness[row], values[row])
                shift = (3, 3 if place % 2 else -9)
                axes.annotate(labels[row], dot, shift, textcoords="offset points", fontsize=7, color=light("muted"))
        axes.margins(x=0.16, y=0.12)
        axes.set(title=f"{metric}: r = {r}", xlabel="total awareness", ylabel=metric)

    return draw(name, f"{metric} of each class against its total awareness; r = {r}", SIZE, paint)
