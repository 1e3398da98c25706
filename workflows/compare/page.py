"""``compare.html``: one self-contained page in the style of the audit's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cawa_core.rendering.figures import SIZE, Picture, draw
from cawa_core.rendering.html_tables import MOST_ROWS, HtmlTable, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.report import page_environment, page_style
from cawa_core.rendering.sections.base import Section
from workflows.compare.page_template import TEMPLATE
from workflows.compare.quality import QUALITIES
from workflows.compare.totals import FEWEST_FOR_RANKS
from workflows.compare.turnover import PAIRS
from workflows.compare.wording import exactness, set_words, threshold_words

Rows = Sequence[Mapping[str, Any]]

MOST_NAMED = 8
"""Largest number of dots per figure that are labelled with their class."""


def page(comparison: Mapping[str, Any]) -> str:
    """Render the page of a comparison.

    Args:
        comparison: content of ``compare.json``.
    """
    verdict = "worse" if comparison["is_worse"] else "not worse" if comparison["class_metrics"] else "not judged"
    return (
        page_environment()
        .from_string(TEMPLATE)
        .render(
            comparison=comparison,
            verdict=verdict,
            sections=list(_sections(comparison)),
            **page_style(),
        )
    )


def _sections(comparison: Mapping[str, Any]) -> Iterator[Section]:
    if comparison["class_metrics"]:
        yield _totals(comparison)
        yield _classes(comparison)
    if comparison["masking_effects"]:
        yield _masking(comparison)
    if comparison["channel_sets"]:
        yield _channel_sets(comparison)
    if any(comparison["correlations"].values()):
        yield _correlations(comparison["correlations"])
    yield _provenance(comparison)


def _totals(comparison: Mapping[str, Any]) -> Section:
    columns = {
        "metric": "metric",
        "base": "base, mean",
        "new": "new, mean",
        "worsening": "median worsening",
        "q_value": "adjusted p",
        "verdict": "verdict",
    }
    totals = comparison["class_metrics"]["totals"]
    lead = (
        f"Tested by Wilcoxon's signed ranks over classes, or with fewer than {FEWEST_FOR_RANKS} classes by whether "
        "more than half moved. Worse: the change is significant and the median class is worse by at least the "
        "threshold."
    )
    tables = [table_of("Each metric over all classes", columns, totals)]
    thresholds = {"metric": "metric", "worse": "worse is", "threshold": "threshold", "of": "measured as"}
    tables.append(table_of("Thresholds", thresholds, threshold_words(comparison["spec"])))
    return Section("totals", "Over all classes", lead, tables=tuple(tables))


def _classes(comparison: Mapping[str, Any]) -> Section:
    rows = comparison["class_metrics"]["classes"]
    moved = sorted((row for row in rows if row["verdict"] in ("worse", "better")), key=lambda row: row["q_value"])
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
    tables = [_table_of_first("Classes that moved", columns, moved), _metric_changes(rows), _awareness(comparison)]
    figures = tuple(_scatter(metric, rows) for metric in ("precision", "recall", "fid", "classifier_accuracy"))
    return Section("classes", "Class by class", lead, figures, tuple(tables))


def _metric_changes(rows: Rows) -> HtmlTable:
    by_class: dict[str, dict[str, Any]] = {}
    for row in rows:
        change = None if row["base"] is None or row["new"] is None else row["new"] - row["base"]
        by_class.setdefault(row["class_name"], {"class": row["class_name"]})[row["metric"]] = change
    names = {"class": "class"} | {metric: metric.replace("_", " ") for metric in QUALITIES}
    return table_of("Change of every metric, new minus base", names, list(by_class.values()))


def _awareness(comparison: Mapping[str, Any]) -> HtmlTable:
    columns = {
        "class_name": "class",
        "total_awareness_base": "base",
        "total_awareness_new": "new",
        "relative_change": "relative change",
    }
    return table_of(f"Total awareness, {exactness(comparison)}", columns, comparison["total_awareness"])


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
            axes.annotate(row["class_name"], spot, (3, 3), textcoords="offset points", fontsize=7, color=light("muted"))
        axes.margins(x=0.16, y=0.12)
        axes.set(title=metric.replace("_", " "), xlabel="base", ylabel="new")

    return draw(
        f"change-{metric}", f"{metric} of each class in base and new; unchanged classes lie on the line", SIZE, paint
    )


def _masking(comparison: Mapping[str, Any]) -> Section:
    effects = comparison["masking_effects"]
    columns = {
        "class_name": "class",
        "site": "site",
        "channels": "channels",
        "score_change_base": "base",
        "score_change_new": "new",
        "change": "change",
        "q_value": "adjusted p",
    }
    moved = [row | {"channels": ", ".join(map(str, row["channels"]))} for row in effects["moved"]]
    counts = {"n_groups": "channel groups", "n_moved": "moved", "largest_change": "largest change"}
    names = comparison["class_names"]
    by_class = [row | {"class": names[str(row["class_id"])]} for row in effects["by_class"]]
    lead = (
        f"In {effects['n_moved']} of {effects['n_groups']} channel groups, the effect of masking on the probability of "
        f"the class changed; {effects['n_unmatched']} groups of one audit have no counterpart in the other. Neither "
        "direction is better, so this does not enter the verdict."
    )
    tables = (
        _table_of_first("Channels whose effect moved, the most significant", columns, moved),
        table_of("By class", {"class": "class"} | counts, by_class),
        table_of("By site", {"site": "site"} | counts, effects["by_site"]),
    )
    return Section("masking", "Effects of masking", lead, tables=tables)


def _channel_sets(comparison: Mapping[str, Any]) -> Section:
    names = comparison["class_names"]
    sites = [row | {"least_class": names[str(row["least_class_id"])]} for row in comparison["channel_sets"]["by_site"]]
    classes = [row | {"class": names[str(row["class_id"])]} for row in comparison["channel_sets"]["by_class"]]
    shared = {"criterion": "criterion", "k": "k"}
    by_site = {
        "site": "site",
        "mean_overlap": "mean over classes",
        "expected_overlap": "by noise alone",
        "n_moved": "classes that moved",
        "n_judged": "of",
        "least_overlap": "least",
        "least_class": "of class",
        "overlap_by_chance": "by chance",
    }
    lead = (
        "Share of each class's k highest channels that both audits have in common, next to the share expected under "
        f"noise alone. {set_words(comparison)} A class has moved if it shares fewer channels than in any of "
        f"{2 * PAIRS} draws of noise."
    )
    overlap = {"mean_overlap": "mean overlap", "expected_overlap": "by noise alone"}
    tables = (
        _table_of_first("By site, the most moved first", shared | by_site, sites),
        _table_of_first("By class, mean over sites", {"class": "class"} | shared | overlap, classes),
    )
    return Section("sets", "Top channels", lead, tables=tables)


def _correlations(correlations: Mapping[str, Any]) -> Section:
    masking = {
        "predictor": "predictor",
        "target": "target",
        "base": "base",
        "new": "new",
        "mean_change": "change",
        "null_std": "null sd of one r",
        "n_pairs": "class-site pairs",
        "n_moved": "moved",
    }
    metrics = {
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
    tables = []
    if correlations["masking"]:
        tables.append(table_of("Awareness with masking, smoothed r", masking, correlations["masking"]))
    if correlations["metrics"]:
        tables.append(table_of("Total awareness with class metrics, 95% intervals", metrics, correlations["metrics"]))
    lead = "Correlations of the two audits side by side; they do not enter the verdict."
    return Section("correlations", "Correlations", lead, tables=tuple(tables))


def _provenance(comparison: Mapping[str, Any]) -> Section:
    facts = [
        {"what": key.replace("_", " "), "base": str(value), "new": str(comparison["new"][key])}
        for key, value in comparison["base"].items()
    ]
    facts += [
        {"what": f"spec: {name}", "base": str(base), "new": str(new)}
        for name, (base, new) in comparison["differing_options"].items()
    ]
    columns = {"what": "what", "base": "base", "new": "new"}
    lead = "The two audits that were compared. compare.json next to this page holds every number."
    return Section("provenance", "How it was made", lead, tables=(table_of("The two audits", columns, facts),))


def _table_of_first(caption: str, columns: Mapping[str, str], rows: Rows) -> HtmlTable:
    """Build a table of the first ``MOST_ROWS`` rows of a sorted list."""
    more = f" (the first {MOST_ROWS} of {len(rows):,})" if len(rows) > MOST_ROWS else ""
    return table_of(caption + more, columns, rows[:MOST_ROWS])
