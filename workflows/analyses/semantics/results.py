"""Semantics in the summary and the report: what maps of the features read, from how few images and across classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.rendering.claims import Claim, interval_words
from cawa_core.rendering.class_facts import ClassFacts, ClassValue
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import number_with_interval, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables, site_words
from cawa_core.statistics.verdicts import FAILS, FEWEST_CLASSES, HOLDS, OPEN
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES
from cawa_core.worlds.factors import NEITHER, known_factors
from workflows.analyses.semantics import (
    LEFT_OUT,
    METHODS,
    SEMANTICS,
    SEMANTICS_TABLE,
    SEMANTICS_TRANSFER_TABLE,
    TEST,
    SemanticOptions,
)
from workflows.analyses.semantics.scores import MeanScores, interval_of, known, of_whole_sample, scores_of
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples

PUBLISHED_RATIO = 0.92
"""LSE over NSE-1 at the least in the paper, whose linear maps are 1.6% to 7.8% below nonlinear ones."""
PUBLISHED_SHARES = (0.70, 0.86)
"""Shares of the whole mIoU that the paper's generators have with eight annotated images: 86%, 72% and 70%."""
ANNOTATED = 8
"""Annotated images that the claim on few images is about."""
SAME_CLASS, OTHER_CLASS = "the same class", "another class"
COLOURS = {"lda": "blue", "ridge": "amber", "lse": "red"}
SCORES = "mean IoU of classes by the linear discriminant"
"""Name of what is computed from the table for single classes."""


class SemanticsResults(Results[SemanticOptions]):
    """Agreement of maps of the features with the labels of a segmenter."""

    def summary(self, findings: Findings) -> Content:
        """Return the mean IoU of each map, of few annotated images, of sites, of labels and across classes."""
        rows = findings.manifest.table(SEMANTICS_TABLE.name)
        if rows.empty:
            return {"semantics": None}
        transfer = findings.manifest.table(SEMANTICS_TRANSFER_TABLE.name)
        factors = known_factors(findings.spec.real_images)
        entry = semantics_summary(rows, findings.resamples)
        return {"semantics": entry | {"transfer": transfer_summary(transfer, findings.resamples, factors)}}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether a linear map reads almost all, and from how few images."""
        entry = summary.get("semantics")
        return semantics_claims(entry) if entry else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the mean IoU of each class."""
        rows = manifest.table(SEMANTICS_TABLE.name)
        return {SCORES: class_scores(rows)}

    def class_facts(self, tables: Tables, summary: Content) -> ClassFacts | None:  # noqa: ARG002
        """Return the mean IoU of each class."""
        scores = tables[SCORES]
        if scores.empty:
            return None
        by_class = dict(zip(scores.class_id.tolist(), scores.value.tolist(), strict=True))
        meaning = "mean IoU over labels of the linear discriminant with the segmenter, in new images of the class"
        return ClassFacts((ClassValue(SEMANTICS.name, "linear semantics", meaning, "", by_class),))

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        entry = summary.get("semantics")
        return [semantics_section(entry)] if entry else []


def class_scores(rows: pd.DataFrame, method: str = "lda") -> pd.DataFrame:
    """Return the mean IoU over labels of a method in each class with any: columns ``class_id`` and ``value``."""
    whole = of_whole_sample(rows)
    whole = whole[whole.method == method]
    alone = ClassResamples(0, 0)
    class_ids = [int(class_id) for class_id in sorted(whole.class_id.unique())]
    scores = [scores_of(whole[whole.class_id == class_id], alone, [class_id]) for class_id in class_ids]
    values = [float(score.of_set[0]) for score in scores]
    return pd.DataFrame({"class_id": class_ids, "value": values}).dropna(ignore_index=True)


def semantics_summary(rows: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any]:
    """Summarise the table ``semantics`` over classes.

    Returns:
        ``methods``: mean IoU over all images (``miou``) and in single images (``miou_by_image``) of each method, with
        intervals; ``left_out``: the same for training images left out one by one; ``ratio``: LSE over NSE-1;
        ``few_annotated``: by method and number of images, mean and standard deviation over repeats and the share of
        that of the whole sample; ``sites``: of the linear discriminant of single sites; ``labels``: IoU of each label
        by method.
    """
    class_ids = [int(class_id) for class_id in sorted(rows.class_id.unique())]
    whole = of_whole_sample(rows)
    scores = {
        method: scores_of(whole[whole.method == method], resamples, class_ids)
        for method in METHODS
        if (whole.method == method).any()
    }
    left_out = of_whole_sample(rows, LEFT_OUT)
    of_sites = rows[(rows.method == "lda") & (rows.site != ALL_SITES)]
    return {
        "n_classes": len(class_ids),
        "methods": [{"method": method, **scores[method].as_data()} for method in scores],
        "left_out": [
            {"method": method, **scores_of(part, resamples, sorted(part.class_id.unique().tolist())).as_data()}
            for method, part in left_out.groupby("method")
        ],
        "ratio": _ratio(scores, "lse", "nse1"),
        "few_annotated": _few_annotated(rows, scores, resamples, class_ids),
        "sites": [
            {"site": site, **scores_of(of_sites[of_sites.site == site], resamples, class_ids).as_data()}
            for site in sorted(of_sites.site.unique().tolist())
        ],
        "labels": _by_label(scores),
    }


def _ratio(scores: Mapping[str, MeanScores], method: str, base: str) -> dict[str, Any] | None:
    """Return the ratio of the mean IoU of two methods, with an interval over the same resampled classes."""
    if method not in scores or base not in scores:
        return None
    if not scores[base].of_set[0] > 0:
        return None
    entry: dict[str, Any] = {}
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of classes may have nothing that is read
        ratios = {
            "miou": scores[method].of_set / scores[base].of_set,
            "miou_by_image": scores[method].by_image / scores[base].by_image,
        }
    for name, values in ratios.items():
        entry |= {name: float(values[0]), f"{name}_ci": interval_of(values[1:])}
    return entry


def _few_annotated(
    rows: pd.DataFrame, scores: Mapping[str, MeanScores], resamples: ClassResamples, class_ids: list[int]
) -> list[dict[str, Any]]:
    few = rows[(rows.n_annotated > 0) & (rows["sample"] == TEST)]
    summary = []
    chosen = few[["method", "n_annotated"]].drop_duplicates().sort_values(["method", "n_annotated"])
    for method, number in zip(chosen.method.tolist(), chosen.n_annotated.tolist(), strict=True):
        part = few[(few.method == method) & (few.n_annotated == number)]
        repeats = [scores_of(of_repeat, resamples, class_ids).of_set[0] for _, of_repeat in part.groupby("repeat")]
        whole = scores[method].of_set[0]
        spread = float(np.std(repeats, ddof=1)) if len(repeats) > 1 else None
        mean = np.mean(repeats)
        entry = {"method": method, "n_annotated": int(number), "miou": known(mean), "deviation": spread}
        share = known(mean / whole) if whole > 0 else None
        summary.append(entry | {"share": share, "repeats": len(repeats)})
    return summary


def _by_label(scores: Mapping[str, MeanScores]) -> list[dict[str, Any]]:
    labels = sorted({label for each in scores.values() for label in each.labels})
    rows = []
    for label in labels:
        row: dict[str, Any] = {"label": label}
        for method, each in scores.items():
            value = each.of_labels[each.labels.index(label)] if label in each.labels else np.nan
            row[method] = float(value) if np.isfinite(value) else None
        rows.append(row)
    return rows


def transfer_summary(
    rows: pd.DataFrame, resamples: ClassResamples, factors: Mapping[str, Sequence[str]] | None
) -> list[dict[str, Any]] | None:
    """Summarise what maps of single classes read in images of the same and of other classes.

    Args:
        rows: ``semantics_transfer``.
        resamples: bootstrap over the classes that are read.
        factors: known factors of the classes; None if they are not known.

    Returns:
        One row for each relation of the two classes: ``pairs``, mean IoU with interval, and IoU by label
        (``labels``). None without a table.
    """
    if rows.empty:
        return None
    related = rows.assign(relation=_relations(rows, factors))
    summary = []
    for relation in [SAME_CLASS, *(factors or ()), NEITHER if factors else OTHER_CLASS]:
        part = related[related.relation == relation]
        if part.empty:
            continue
        class_ids = [int(class_id) for class_id in sorted(part.class_id.unique())]
        scores = scores_of(part, resamples, class_ids)
        labels = dict(zip(scores.labels, scores.of_labels.tolist(), strict=True))
        pairs = len(part[["class_id", "trained_on"]].drop_duplicates())
        summary.append({"relation": relation, "pairs": pairs, **scores.as_data(), "labels": labels})
    return summary


def _relations(rows: pd.DataFrame, factors: Mapping[str, Sequence[str]] | None) -> list[str]:
    """Return how the two classes of each row are related."""
    relations = []
    for class_id, trained_on in zip(rows.class_id.tolist(), rows.trained_on.tolist(), strict=True):
        shared = [name for name, values in (factors or {}).items() if values[class_id] == values[trained_on]]
        if class_id == trained_on:
            relations.append(SAME_CLASS)
        elif factors is None:
            relations.append(OTHER_CLASS)
        else:
            relations.append(shared[0] if shared else NEITHER)
    return relations


def semantics_claims(entry: Mapping[str, Any]) -> list[Claim]:
    """Decide the claims on linear maps.

    Args:
        entry: ``semantics`` of the summary.
    """
    claims = []
    ratio = entry["ratio"]
    if ratio:
        evidence = (
            f"mIoU of LSE over that of NSE-1: {ratio['miou']:.3f}, {_span(ratio['miou_ci'])}; in single images "
            f"{ratio['miou_by_image']:.3f}, {_span(ratio['miou_by_image_ci'])}. Published: 0.92 to 0.98."
        )
        claims.append(
            Claim(
                "A linear map of the features reads at least 92% of what a nonlinear one does.",
                _at_least(ratio["miou_ci"] if entry["n_classes"] >= FEWEST_CLASSES else None, PUBLISHED_RATIO),
                evidence,
                "Xu and Zheng 2021",
            )
        )
    return claims


def _at_least(interval: Sequence[float] | None, bound: float) -> str:
    """Return whether an interval lies above a bound."""
    if interval is None or interval[0] < bound <= interval[1]:
        return OPEN
    return HOLDS if interval[0] >= bound else FAILS


def _span(interval: Sequence[float] | None) -> str:
    return interval_words(interval, 3).replace("+", "")


def semantics_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``semantics`` of the summary.
    """
    lead = (
        "A map of the features reads what each pixel shows, without looking at the image. The linear discriminant and "
        "ridge regression are linear maps in closed form, LSE is one by gradient; NSE-1 is a perceptron at each pixel, "
        "and NSE-2 has convolutions. mIoU is the mean IoU over labels with the segmenter's labels in new images; IoU "
        "is taken over all images, or averaged over single images as in the paper. In brackets: 95% intervals over "
        "classes."
    )
    methods = [_named(row) for row in entry["methods"]]
    left_out = [_named(row) for row in entry["left_out"]]
    columns = {"words": "map", "of_set": "mIoU", "by_image": "mIoU in single images"}
    tables = [table_of("What maps of all sites read in new images", columns, methods)]
    if left_out:
        tables.append(table_of("The same in training images, each left out of the sample", columns, left_out))
    if entry["few_annotated"]:
        few_columns = {
            "words": "map",
            "n_annotated": "annotated images",
            "miou": "mIoU",
            "deviation": "deviation over repeats",
            "share": "share of that of all images",
        }
        few = [{**row, "words": METHODS[row["method"]]} for row in entry["few_annotated"]]
        tables.append(table_of("Maps of few annotated images", few_columns, few))
    if entry["sites"]:
        sites = [{**_named(row), "words": site_words(row["site"])} for row in entry["sites"]]
        tables.append(table_of("The linear discriminant of single sites", columns | {"words": "site"}, sites))
    present = {row["method"]: METHODS[row["method"]] for row in entry["methods"]}
    tables.append(table_of("IoU of each label", {"label": "label"} | present, entry["labels"]))
    if entry["transfer"]:
        tables += _transfer_tables(entry["transfer"])
    pictures = (few_curves(entry["few_annotated"]),) if entry["few_annotated"] else ()
    return Section(SEMANTICS.name, SEMANTICS.title, lead, pictures, tuple(tables))


def _transfer_tables(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    words = {SAME_CLASS: SAME_CLASS, OTHER_CLASS: OTHER_CLASS, NEITHER: "classes that share neither"}
    named = [{**_named(row), "words": words.get(row["relation"], f"the same {row['relation']}")} for row in rows]
    columns = {"words": "trained on", "pairs": "pairs of classes", "of_set": "mIoU"}
    labels = sorted({label for row in rows for label in row["labels"]})
    by_label = [
        {"label": label} | {str(place): row["labels"].get(label) for place, row in enumerate(rows)} for label in labels
    ]
    headings = {"label": "label"} | {str(place): row["words"] for place, row in enumerate(named)}
    return [
        table_of("What the linear discriminant of a single class reads in images of others", columns, named),
        table_of("IoU of each label by what the discriminant is trained on", headings, by_label),
    ]


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Add the name of a method and both means in words."""
    words = {
        "words": METHODS.get(row.get("method", ""), ""),
        "of_set": number_with_interval(row["miou"], row["miou_ci"], 3),
        "by_image": number_with_interval(row["miou_by_image"], row["miou_by_image_ci"], 3),
    }
    return {**row, **words}


def few_curves(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the mean IoU by the number of annotated images, with the deviation over repeats."""

    def paint(axes: Axes) -> None:
        for method in COLOURS:
            measured = [row for row in rows if row["method"] == method and row["miou"] is not None]
            if not measured:
                continue
            x = [row["n_annotated"] for row in measured]
            y = np.array([row["miou"] for row in measured])
            spread = np.array([row["deviation"] or 0.0 for row in measured])
            colour = light(COLOURS[method])
            axes.plot(x, y, "o-", color=colour, markersize=4, label=METHODS[method])
            axes.fill_between(x, y - spread, y + spread, color=colour, alpha=0.15, linewidth=0)
        numbers = sorted({row["n_annotated"] for row in rows})
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.minorticks_off()
        axes.set(title="Few annotated images", xlabel="annotated images", ylabel="mIoU", ylim=(0, 1))
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        legend_above(axes, 0.3, "upper center", columns=2)

    return draw("semantics", "Mean IoU of linear maps by the number of annotated images", SIZE, paint)
