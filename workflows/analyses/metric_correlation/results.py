"""Whether classes of high total awareness look better and vary less (Sec. 5.4, Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import counted
from cawa_core.rendering.claims import Claim, named_classes, real_images_in_words, signed
from cawa_core.rendering.figures import MOST_DOTS, MOST_NUMBERS, SIZE, Array, Picture, draw
from cawa_core.rendering.glyphs import shortened
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Scatter, Section, Tables, class_names
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.verdicts import HOLDS, OPEN, SIGNIFICANT, joint_verdict
from workflows.analyses.class_metrics import CLASS_METRICS_TABLE
from workflows.analyses.metric_correlation import CLASSES, METRIC_CORRELATION, METRIC_CORRELATION_TABLE
from workflows.interface import Content, Findings, NoOptions, Results

Rows = Sequence[Mapping[str, Any]]

LARGE_INFLUENCE = 0.1
"""Change of Pearson's r by a few classes from which on they are named."""
_VERDICT_WORDS = {True: "supports the claim", False: "does not support the claim"}


class MetricCorrelationResults(Results[NoOptions]):
    """Correlations of total awareness with the class metrics.

    Its section draws the metrics of each class, which :mod:`workflows.analyses.class_metrics.results` reads.
    """

    def summary(self, findings: Findings) -> Content:
        """Return the correlations."""
        rows = records(findings.manifest.table(METRIC_CORRELATION_TABLE.name))
        lists = [name for name, (kind, _) in METRIC_CORRELATION_TABLE.columns.items() if kind == CLASSES]
        rows = [{**row, **{name: list(row[name]) for name in lists}} for row in rows]
        return {"metric_correlation": rows or None}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether total awareness goes with quality and with little diversity."""
        rows = summary.get("metric_correlation")
        return quality_claims(rows, summary["n_real"], class_names(summary)) if rows else []

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on Fig. 10."""
        rows = summary["metric_correlation"]
        metrics = tables[CLASS_METRICS_TABLE.name]
        return [] if not rows or metrics.empty else [awareness_section(rows, metrics)]


def quality_claims(rows: Rows, n_real: Sequence[int], names: Mapping[int, str]) -> list[Claim]:
    """Decide whether each metric's rank correlation with total awareness has the sign that the paper expects.

    A metric supports the claim only if it does so among all metrics tested (Benjamini-Hochberg).

    Args:
        rows: correlations by metric.
        n_real: fewest and most real images of a class.
        names: names of the classes.
    """
    by_metric = {row["metric"]: row for row in rows}
    tested = [
        {**by_metric[metric.name], "heading": metric.heading}
        for metric in METRICS
        if metric.expected_sign and metric.name in by_metric
    ]
    if not tested:
        return []
    p_values = np.array([row["robust_p"] for row in tested], dtype=np.float64)
    verdicts = [
        OPEN if row["verdict"] == HOLDS and not q_value <= SIGNIFICANT else row["verdict"]
        for row, q_value in zip(tested, adjusted(p_values), strict=True)
    ]
    parts = ", ".join(f"{row['heading']} {_rank_r_in_words(row)}" for row in tested)
    published = ", ".join(f"{row['heading']} {_pearson_in_words(row, names)}" for row in tested)
    evidence = (
        f"Rank correlation with total awareness over {counted(max(row['n_classes'] for row in rows), 'class')}, with "
        f"bootstrap 95% intervals: {parts}. Pearson r, as published: {published}."
        f"{_outliers_in_words(tested, names)}{_hanging_in_words(tested, verdicts, names)}"
        f"{real_images_in_words(*n_real)}"
    )
    claim = "Classes with high total awareness look better and vary less."
    return [Claim(claim, joint_verdict(verdicts), evidence, "Sec. 5.4, Fig. 10")]


def _rank_r_in_words(row: Mapping[str, Any]) -> str:
    interval = f"{signed(row['robust_ci_low'])}, {signed(row['robust_ci_high'])}"
    return f"{signed(row['robust_spearman'])} [{interval}]"


def _pearson_in_words(row: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """Return Pearson's r, and what it is without the classes that it rests on if that differs much."""
    r, without = row["pearson"], row["pearson_without"]
    if r is None or without is None or abs(r - without) < LARGE_INFLUENCE:
        return signed(r)
    return f"{signed(r)} (without {named_classes(row['influential'], names)} {signed(without)})"


def _outliers_in_words(tested: Rows, names: Mapping[int, str]) -> str:
    class_ids = sorted({class_id for row in tested for class_id in row["outliers"]})
    if not class_ids:
        return ""
    return f" Ranks are taken without outliers in either quantity: {named_classes(class_ids, names)}."


def _hanging_in_words(tested: Rows, verdicts: Sequence[str], names: Mapping[int, str]) -> str:
    return "".join(
        f" That {row['heading']} {_VERDICT_WORDS[verdict == HOLDS]} hangs on {named_classes(row['hangs_on'], names)}: "
        f"without {'it' if len(row['hangs_on']) == 1 else 'them'}, the rank correlation is "
        f"{signed(row['robust_without'])}."
        for row, verdict in zip(tested, verdicts, strict=True)
        if row["hangs_on"] and verdict == row["verdict"]
    )


def awareness_section(rows: Rows, metrics: pd.DataFrame) -> Section:
    """Build the section on Fig. 10: metrics against total awareness, one dot per class.

    Args:
        rows: correlations by metric.
        metrics: table ``class_metrics``.
    """
    by_metric = {row["metric"]: row for row in rows}
    names = [shortened(name) for name in metrics.class_name]
    awareness = metrics.total_awareness.to_numpy()
    plotted = [metric for metric in METRICS if metric.expected_sign and metric.name in by_metric]
    pictures = [
        metric_scatter(
            f"metric-{metric.name}",
            metric.heading,
            awareness,
            metrics[metric.name].to_numpy(dtype=np.float64),
            names,
            f"{signed(by_metric[metric.name]['pearson'])}, rank r = {_rank_r_in_words(by_metric[metric.name])}",
        )
        for metric in plotted
    ]
    headings = {metric.name: metric.heading for metric in METRICS}
    columns = {
        "metric": "metric",
        "pearson": "r",
        "ci_low": "95% from",
        "ci_high": "to",
        "pearson_without": "r without influential",
        "spearman": "rank r",
        "robust_spearman": "rank r without outliers",
        "robust_ci_low": "95% from ",
        "robust_ci_high": "to ",
        "robust_p": "p",
        "n_outliers": "outliers",
        "verdict": "as expected",
        "n_classes": "n",
    }
    named = [
        {**row, "metric": headings.get(row["metric"], row["metric"]), "n_outliers": len(row["outliers"])}
        for row in rows
    ]
    table = table_of("Correlation with total awareness over classes", columns, named)
    lead = (
        "The total awareness of a class is the sum of |category awareness| over all channels. The figures show the "
        "metrics for which the paper expects a correlation: classes with high total awareness should look better and "
        "vary less. The paper reports Pearson's r; the rank correlation without outliers decides, because a few "
        "classes can reverse the sign of r. Intervals are bootstrap intervals over classes; p comes from permutations."
    )
    return Section(
        METRIC_CORRELATION.name,
        "Class metrics and total awareness",
        lead,
        tuple(pictures),
        (table,),
        scatters=tuple(Scatter("total_awareness", metric.name, metric.heading) for metric in plotted),
    )


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
        axes.set(title=f"{metric}\nr = {r}", xlabel="total awareness", ylabel=metric)

    return draw(name, f"{metric} of each class against its total awareness; r = {r}", SIZE, paint)
