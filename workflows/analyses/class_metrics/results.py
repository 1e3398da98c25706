"""Quality and diversity of the classes, with the floor that equal numbers of real images give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import counted
from cawa_core.rendering.claims import percentage, real_images_in_words
from cawa_core.rendering.class_facts import MOST_RELATED, ClassFacts, ClassValue, RelatedClass, Relation
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section, Tables, class_names
from cawa_core.tables import Manifest
from workflows.analyses.class_metrics import (
    CLASS_CONFUSION_TABLE,
    CLASS_METRIC_FLOOR_TABLE,
    CLASS_METRICS,
    CLASS_METRICS_TABLE,
    ClassMetricOptions,
)
from workflows.analyses.class_metrics.scales import Array, on_even_scale
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import mean_of_known

TELLING = 0.2
"""Smallest share of a class's images that, assigned to one other class, may explain why it stands out."""
FLOOR_COLUMNS = {
    "metric": "metric",
    "mean": "all samples",
    "half_fake_against_real": "fewer generated images",
    "half_real_against_real": "real against real",
    "min": "lowest",
    "min_class": "class with the lowest",
    "max": "highest",
    "max_class": "class with the highest",
}
MOST_NAMED = 5
"""Most classes with unreadable real images that a warning names."""


class ClassMetricsResults(Results[ClassMetricOptions]):
    """Metrics of each class."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the metrics over classes, and the range of the number of real images."""
        metrics = findings.manifest.table(CLASS_METRICS_TABLE.name)
        floor = findings.manifest.table(CLASS_METRIC_FLOOR_TABLE.name)
        n_real = [int(metrics.n_real.min()), int(metrics.n_real.max())] if len(metrics) else None
        return {
            "class_metrics": class_metric_summary(metrics, floor),
            "n_real": n_real,
            "n_unreadable": unreadable_by_class(metrics),
        }

    def warnings(self, summary: Content) -> Sequence[str]:
        """Name the classes whose real images were in part left out, the worst first."""
        counts = summary.get("n_unreadable") or {}
        if not counts:
            return ()
        names = class_names(summary)
        worst = sorted(counts, key=lambda class_id: -counts[class_id])
        listing = ", ".join(f"{counts[class_id]:,} of {names[int(class_id)]}" for class_id in worst[:MOST_NAMED])
        more = f" and of {counted(len(worst) - MOST_NAMED, 'other class')}" if len(worst) > MOST_NAMED else ""
        return (
            f"{counted(sum(counts.values()), 'real image')} could not be read and "
            f"{'was' if sum(counts.values()) == 1 else 'were'} left out: {listing}{more}. Class metrics rest on the "
            "others.",
        )

    def shown(self, manifest: Manifest) -> Tables:
        """Read the metrics of all classes and their floor."""
        names = (CLASS_METRICS_TABLE.name, CLASS_METRIC_FLOOR_TABLE.name, CLASS_CONFUSION_TABLE.name)
        return {name: manifest.table(name) for name in names}

    def class_facts(self, tables: Tables, summary: Content) -> ClassFacts | None:  # noqa: ARG002
        """Return the metrics of each class, and the classes that the evaluator assigns its generated images to."""
        metrics = tables[CLASS_METRICS_TABLE.name]
        if metrics.empty:
            return None
        return ClassFacts(class_values(metrics), (confusion(tables[CLASS_CONFUSION_TABLE.name]),))

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on quality and diversity."""
        metrics = tables[CLASS_METRICS_TABLE.name]
        return [] if metrics.empty else [quality(metrics, tables[CLASS_METRIC_FLOOR_TABLE.name], summary)]


def unreadable_by_class(metrics: pd.DataFrame) -> dict[str, int] | None:
    """Count the unreadable real images of each class that has any."""
    if not len(metrics):
        return None
    counts = zip(metrics.class_id, metrics.unreadable.map(len), strict=True)
    return {str(class_id): int(count) for class_id, count in counts if count}


def class_metric_summary(metrics: pd.DataFrame, floor: pd.DataFrame) -> dict[str, Any] | None:
    """Summarise mean and range of each metric over classes, with the floor from halves of the real images."""
    if not len(metrics):
        return None
    names = metrics.set_index("class_id").class_name
    result: dict[str, Any] = {}
    for metric in METRICS:
        values = metrics.set_index("class_id")[metric.name].astype(float)
        floors = {kind: mean_of_known(part[metric.name]) for kind, part in floor.groupby("comparison")}
        result[metric.name] = {
            "mean": mean_of_known(values),
            "min": float(values.min()),
            "min_class": names.loc[cast(int, values.idxmin())],
            "max": float(values.max()),
            "max_class": names.loc[cast(int, values.idxmax())],
            "half_real_against_real": floors.get("real_real"),
            "half_fake_against_real": floors.get("fake_real"),
        }
    return result


def class_values(metrics: pd.DataFrame) -> tuple[ClassValue, ...]:
    """Return the class metrics, tested on scales on which healthy classes scatter alike, and the total awareness."""
    counts = metrics[["n_real", "n_fake"]].min(axis=1).to_numpy(dtype=np.float64)
    values = []
    for metric in METRICS:
        known = metrics[metric.name].to_numpy(dtype=np.float64)
        tested = by_class(metrics, on_even_scale(metric, known, counts))
        plain = by_class(metrics, known)
        values.append(
            ClassValue(metric.name, metric.heading, metric.meaning, metric.better, plain, metric.fault, tested)
        )
    meaning = CLASS_METRICS_TABLE.columns["total_awareness"][1]
    awareness = by_class(metrics, metrics.total_awareness.to_numpy(dtype=np.float64))
    return (*values, ClassValue("total_awareness", "total awareness", meaning, "", awareness))


def by_class(metrics: pd.DataFrame, values: Array) -> dict[int, float]:
    """Return the known values ``[n]`` of the classes of a table by class."""
    pairs = zip(metrics.class_id.tolist(), values.tolist(), strict=True)
    return {class_id: value for class_id, value in pairs if np.isfinite(value)}


def confusion(table: pd.DataFrame) -> Relation:
    """Return which other classes the evaluator assigns the generated images of each class to."""
    totals = table.groupby("class_id")[["n_fake", "n_real"]].sum()
    mistaken = table[(table.class_id != table.predicted_class) & (table.n_fake > 0)]
    ordered = mistaken.sort_values(["class_id", "n_fake", "predicted_class"], ascending=[True, False, True])
    halves = mistaken[2 * mistaken.n_fake > mistaken.class_id.map(totals.n_fake)]
    mostly = set(zip(halves.class_id, halves.predicted_class, strict=True))
    related: dict[int, list[RelatedClass]] = {}
    for row in records(ordered.groupby("class_id").head(MOST_RELATED)):
        class_id = row["class_id"]
        fake = row["n_fake"] / totals.n_fake[class_id]
        real = row["n_real"] / max(1, totals.n_real[class_id])
        words = f"{percentage(fake)} of the generated images, {percentage(real)} of the real ones"
        diagnosis = ""
        if {(class_id, row["predicted_class"]), (row["predicted_class"], class_id)} <= mostly:
            words += "; the two classes may be swapped"
            diagnosis = f"may be swapped with {row['predicted_name']}"
        other = RelatedClass(row["predicted_class"], row["predicted_name"], words, bool(fake >= TELLING), diagnosis)
        related.setdefault(class_id, []).append(other)
    return Relation("Most often mistaken for", related)


def quality(metrics: pd.DataFrame, floor: pd.DataFrame, summary: Content) -> Section:
    """Build the section on the metrics of each class, and their floor."""
    halves = floor.pivot(index="class_id", columns="comparison", values="fid")
    joined = records(metrics.merge(halves.add_prefix("fid_"), left_on="class_id", right_index=True))
    columns = {
        "class_name": "class",
        "total_awareness": "total awareness",
        **{metric.name: metric.heading for metric in METRICS},
        "fid_fake_real": "FID, fewer generated images",
        "fid_real_real": "FID, real against real",
        "n_real": "n real",
        "n_fake": "n generated",
    }
    headings = {metric.name: metric.heading for metric in METRICS}
    floors = [{**values, "metric": headings.get(name, name)} for name, values in summary["class_metrics"].items()]
    lead = (
        "Features and classifications come from the networks named in the protocol, so compare distances only with "
        "audits that have the same protocol. FID is larger when it is computed from fewer images. The last two FID "
        "columns are comparable, because they use equal numbers of images: half as many as there are real ones, or as "
        "are generated if these are fewer. The distance between the two halves of the real images is the floor that a "
        "perfect generator would reach."
        f"{real_images_in_words(metrics.n_real.min(), metrics.n_real.max())} Protocol: {metrics.protocol.iloc[0]}."
    )
    by_class = table_of("Quality and diversity by class", columns, joined)
    means = table_of("Means over classes, with all samples and with fewer", FLOOR_COLUMNS, floors)
    return Section(CLASS_METRICS.name, "Quality and diversity", lead, (), (by_class, means))
