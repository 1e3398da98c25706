"""Comparison of class metrics, which decides whether a checkpoint is worse, and of total awareness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.class_metrics.records import METRICS
from cawa_core.rendering.figures import SIZE, Picture, draw
from cawa_core.rendering.glyphs import shortened
from cawa_core.rendering.html_tables import HtmlTable, records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section
from workflows.analyses.awareness import AWARENESS
from workflows.analyses.awareness.comparison import sampled_sites, site_words
from workflows.analyses.class_metrics import CLASS_METRIC_FLOOR_TABLE, CLASS_METRICS, CLASS_METRICS_TABLE
from workflows.analyses.class_metrics.metric_changes import COMPARED_IMAGES, metric_changes
from workflows.compare.pairing import Pair
from workflows.compare.significance import FEWEST_FOR_RANKS
from workflows.compare.tables import Rows, markdown_table, table_of_first
from workflows.interface import Comparison, Content

DRAWN = ("precision", "recall", "fid", "classifier_accuracy")
"""Metrics with a figure."""
MOST_NAMED = 8
"""Largest number of dots per figure that are labelled with their class."""


class ClassMetricsComparison(Comparison[Any]):
    """Comparison of every metric, per class and over all classes, each against its noise and its threshold."""

    ENTRIES = ("class_metrics", "total_awareness", "total_awareness_is_exact")

    def contrast(self, pair: Pair, thresholds: Any, level: float) -> Content:  # noqa: ANN401
        """Compare the metrics (:func:`~workflows.analyses.class_metrics.metric_changes.metric_changes`)."""
        tables = pair.tables(CLASS_METRICS_TABLE.name)
        images = pair.base.option(CLASS_METRICS, "ms_ssim_samples")
        base, new = (table.assign(**{COMPARED_IMAGES: table.n_fake.clip(upper=images)}) for table in tables)
        by_metric = {metric.name: getattr(thresholds, metric.threshold_option) for metric in METRICS}
        floors = pair.tables(CLASS_METRIC_FLOOR_TABLE.name)
        classes, totals = metric_changes(base, new, *floors, by_metric, level)
        return {
            "class_metrics": {"classes": records(classes), "totals": records(totals)},
            "total_awareness": awareness_changes(*tables),
            "total_awareness_is_exact": total_is_exact(pair),
        }

    def judged(self, content: Content) -> Sequence[Content]:
        """Return each metric over all classes, then each metric of each class."""
        return [*content["class_metrics"]["totals"], *content["class_metrics"]["classes"]]

    def has_moved(self, content: Content) -> bool:
        """Return whether a metric of any class differs."""
        return any(
            row["verdict"] != "same" and not (row["base"] is None and row["new"] is None)
            for row in content["class_metrics"]["classes"]
        )

    def sections(self, content: Content) -> list[Section]:
        """Show the metrics over all classes, and class by class."""
        return [_totals(content), _classes(content)]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the metrics over all classes, and the classes that moved."""
        metrics = content["class_metrics"]
        of_totals = ("metric", "base", "new", "q_value", "verdict")
        yield "Over all classes", markdown_table(metrics["totals"], of_totals)
        of_classes = ("class_name", "metric", "base", "new", "stderr", "q_value", "verdict")
        yield "Classes that moved", markdown_table(_moved(metrics["classes"]), of_classes)


def awareness_changes(base: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the relative change of each class's total awareness, which has no standard error.

    At affine sites it is a closed form, so any change comes from the weights; at other sites it is sampled and varies
    with the seed (:func:`total_is_exact`).

    Args:
        base, new: table ``class_metrics``.
    """
    columns = ["class_id", "class_name", "total_awareness"]
    both = base[columns].merge(new[columns[::2]], on="class_id", suffixes=("_base", "_new"))
    both["relative_change"] = both.total_awareness_new / both.total_awareness_base - 1
    return records(both)


def total_is_exact(pair: Pair) -> bool | None:
    """Return whether total awareness is a closed form at every site; None: unknown.

    Total awareness uses the closed form at every affine site, whether or not its rows were requested.
    """
    sampled = sampled_sites(pair)
    if not sampled:
        return None if sampled is None else True
    audits = (pair.base, pair.new)
    requested = all("closed_form" in audit.option(AWARENESS, "awareness_estimators") for audit in audits)
    return False if requested else None


def exactness(content: Content) -> str:
    """Say how total awareness was computed."""
    exact = content["total_awareness_is_exact"]
    if exact is None:
        return "exact at affine sites, sampled at others"
    sites = content["sampled_sites"]
    where = site_words(sites) if sites else "some sites"
    return "exact" if exact else f"sampled at {where}, where it moves with the seed"


def threshold_words(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the threshold of each metric, as table rows."""
    return [
        {
            "metric": metric.name,
            "worse": "a rise" if metric.worse_sign > 0 else "a drop",
            "threshold": spec[metric.threshold_option],
            "of": "relative to the base" if metric.is_relative else "absolute",
        }
        for metric in METRICS
    ]


def _moved(rows: Rows) -> Rows:
    """Return the rows that count as a change, the most significant first."""
    return sorted((row for row in rows if row["verdict"] in ("worse", "better")), key=lambda row: row["q_value"])


def _totals(content: Content) -> Section:
    columns = {
        "metric": "metric",
        "base": "base, mean",
        "new": "new, mean",
        "worsening": "median worsening",
        "q_value": "adjusted p",
        "verdict": "verdict",
    }
    totals = content["class_metrics"]["totals"]
    lead = (
        f"Tested by Wilcoxon's signed ranks over classes, or with fewer than {FEWEST_FOR_RANKS} classes by whether "
        "more than half moved. Worse: the change is significant and the median class is worse by at least the "
        "threshold."
    )
    tables = [table_of("Each metric over all classes", columns, totals)]
    thresholds = {"metric": "metric", "worse": "worse is", "threshold": "threshold", "of": "measured as"}
    tables.append(table_of("Thresholds", thresholds, threshold_words(content["spec"])))
    return Section("totals", "Over all classes", lead, tables=tuple(tables))


def _classes(content: Content) -> Section:
    rows = content["class_metrics"]["classes"]
    columns = {
        "class_name": "class",
        "metric": "metric",
        "base": "base",
        "new": "new",
        "worsening": "worsening",
        "noise": "noise from",
        "q_value": "adjusted p",
        "verdict": "verdict",
    }
    unknown = sum(row["verdict"] == "unknown" for row in rows)
    lead = (
        "Each class and metric is tested against its noise; the false discovery rate is controlled over all of them "
        "(Benjamini-Hochberg)."
    )
    if unknown:
        lead += f" {unknown} cannot be judged, because their noise is unknown."
    tables = [table_of_first("Classes that moved", columns, _moved(rows)), _metric_changes(rows), _awareness(content)]
    figures = tuple(_scatter(metric, rows) for metric in DRAWN)
    return Section("classes", "Class by class", lead, figures, tuple(tables))


def _metric_changes(rows: Rows) -> HtmlTable:
    by_class: dict[str, dict[str, Any]] = {}
    for row in rows:
        change = None if row["base"] is None or row["new"] is None else row["new"] - row["base"]
        by_class.setdefault(row["class_name"], {"class": row["class_name"]})[row["metric"]] = change
    names = {"class": "class"} | {metric.name: metric.name.replace("_", " ") for metric in METRICS}
    return table_of("Change of every metric, new minus base", names, list(by_class.values()))


def _awareness(content: Content) -> HtmlTable:
    columns = {
        "class_name": "class",
        "total_awareness_base": "base",
        "total_awareness_new": "new",
        "relative_change": "relative change",
    }
    return table_of(f"Total awareness, {exactness(content)}", columns, content["total_awareness"])


def _scatter(metric: str, rows: Rows) -> Picture:
    """Draw one dot per class, base against new; worse classes are red and labelled, better ones green."""
    points = [row for row in rows if row["metric"] == metric and row["base"] is not None and row["new"] is not None]
    x, y = (np.array([row[key] for row in points], dtype=np.float64) for key in ("base", "new"))
    colours = {"worse": "red", "better": "green"}

    def paint(axes: Axes) -> None:
        ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))] if points else [0.0, 1.0]
        axes.plot(ends, ends, color=light("rule"), linewidth=0.9)
        axes.scatter(x, y, s=18, c=[light(colours.get(row["verdict"], "blue")) for row in points])
        for row in [point for point in points if point["verdict"] in colours][:MOST_NAMED]:
            spot = (row["base"], row["new"])
            name = shortened(row["class_name"])
            axes.annotate(name, spot, (3, 3), textcoords="offset points", fontsize=7, color=light("muted"))
        axes.margins(x=0.16, y=0.12)
        axes.set(title=metric.replace("_", " "), xlabel="base", ylabel="new")

    return draw(
        f"change-{metric}", f"{metric} of each class in base and new; unchanged classes lie on the line", SIZE, paint
    )
