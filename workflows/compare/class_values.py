"""Changes of values that each class has, tested against their standard errors, and by ranks over classes.

Analyses with such values describe them by :class:`ClassValues`; the rest is the same for all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.rendering.html_tables import HtmlTable, records, table_of
from cawa_core.statistics.many_tests import adjusted
from cawa_core.storage.plain_data import plain
from workflows.compare.significance import (
    FEWEST_FOR_RANKS,
    Noise,
    difference_p_values,
    shift_p_value,
    welch_freedom,
)
from workflows.compare.tables import markdown_table, table_of_first

Array = NDArray[np.float64]

NO_LABELS: Mapping[str, str] = {}
NEUTRAL = "Neither direction is better by itself, so this does not enter the verdict."
"""Sentence for the lead of a section."""


@dataclasses.dataclass(frozen=True)
class ClassValues:
    """Values that each class has in two audits, one row per value.

    Attributes:
        base, new: columns ``class_id``, the labels, ``measure``, ``value``, ``stderr`` (NaN if it is unknown) and
            ``draws`` (latents behind the value); if anything was chosen before it was measured, also ``choice``.
            Standard errors do not contain the noise of a choice, so values of different choices are tested only by
            ranks over classes.
        labels: columns that tell the values of a class apart, besides ``measure``.
        averaged: label that is averaged over in each class before classes are compared, if there is one.
    """

    base: pd.DataFrame
    new: pd.DataFrame
    labels: Sequence[str] = ()
    averaged: str = ""

    @property
    def kinds(self) -> list[str]:
        """The columns that tell the kinds of values apart."""
        return [*(label for label in self.labels if label != self.averaged), "measure"]


def measured_values(
    rows: pd.DataFrame, measures: Sequence[str], labels: Sequence[str] = (), choice: Sequence[str] = ()
) -> pd.DataFrame:
    """Return values in the form of :class:`ClassValues` from a table with standard errors.

    Args:
        rows: columns ``class_id``, the labels, those of the choice, ``n_samples``, and for each measure a column with
            its values and one with their standard errors, ``<measure>_stderr``.
        measures: columns with values.
        labels: columns that tell the values of a class apart.
        choice: columns that say what was chosen before it was measured.
    """
    parts = []
    for measure in measures:
        part = rows[["class_id", *labels]].assign(
            measure=measure,
            value=_numbers(rows, measure),
            stderr=_numbers(rows, f"{measure}_stderr"),
            draws=_numbers(rows, "n_samples"),
        )
        if choice:
            part["choice"] = [str(list(map(plain, values))) for values in rows[list(choice)].itertuples(index=False)]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def value_changes(values: ClassValues, class_names: Mapping[int, str], level: float) -> dict[str, Any]:
    """Test the change of every value of every class, and the shift of each kind of value over classes.

    There are two families of tests, each controlled at half the false discovery rate (Benjamini-Hochberg). Values of a
    class are tested by Welch's t, if their standard errors are known. A shift is tested by Wilcoxon's signed ranks over
    classes, which need none; with fewer than :data:`FEWEST_FOR_RANKS` classes, by whether more than half moved, if the
    standard errors are known.

    Args:
        values: the values of both audits.
        class_names: names by index.
        level: false discovery rate.

    Returns:
        ``n_unmatched``: values of one audit without a counterpart; ``n_rechosen``: values of different choices;
        ``totals``: one row per kind of value, means over classes; ``classes``: one row per value. In both ``moved``
        says whether the change is significant; ``p_value`` is NaN if nothing is known about the noise.
    """
    rows = _matched(values)
    n_unmatched = len(values.base) + len(values.new) - 2 * len(rows)
    rows = rows[rows.value_base.notna() & rows.value_new.notna()].reset_index(drop=True)
    rows = rows.assign(**_tests(rows))
    totals = [_total(values, kind, part) for kind, part in rows.groupby(values.kinds, sort=False)]
    rows["q_value"] = adjusted(rows.p_value.to_numpy(dtype=np.float64))
    rows["moved"] = rows.q_value <= level / 2
    columns = ["class_id", *values.labels, "measure", "value_base", "value_new", "change", "stderr"]
    columns += ["same_choice", "p_value", "q_value", "moved"]
    listed = rows[columns].rename(columns={"value_base": "base", "value_new": "new"})
    listed.insert(1, "class_name", [class_names[int(class_id)] for class_id in rows.class_id])
    q_values = adjusted(np.array([total["p_value"] for total in totals], dtype=np.float64))
    for total, q_value in zip(totals, q_values, strict=True):
        total |= {"q_value": float(q_value), "moved": bool(q_value <= level / 2)}
    n_rechosen = int((~rows.same_choice).sum())
    return {"n_unmatched": n_unmatched, "n_rechosen": n_rechosen, "totals": totals, "classes": records(listed)}


def _matched(values: ClassValues) -> pd.DataFrame:
    """Join the values of both audits, in the order of base."""
    key = ["class_id", *values.labels, "measure"]
    rows = values.base.merge(values.new, on=key, suffixes=("_base", "_new"))
    if "choice_base" not in rows:
        return rows.assign(same_choice=True)
    return rows.assign(same_choice=rows.choice_base == rows.choice_new)


def _tests(rows: pd.DataFrame) -> dict[str, Array]:
    """Return the change of each value, its standard error, and the p-value and degrees of freedom of Welch's test."""
    base, new = _numbers(rows, "value_base"), _numbers(rows, "value_new")
    is_tested = rows.same_choice.to_numpy(dtype=bool)
    stderrs = [np.where(is_tested, _numbers(rows, f"stderr_{side}"), np.nan) for side in ("base", "new")]
    noise = (*stderrs, _numbers(rows, "draws_base"), _numbers(rows, "draws_new"))
    return {
        "change": new - base,
        "stderr": np.hypot(*stderrs),
        "p_value": difference_p_values(base, new, *noise),
        "freedom": welch_freedom(*noise),
    }


def _numbers(rows: pd.DataFrame, column: str) -> Array:
    return rows[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _total(values: ClassValues, kind: tuple[Any, ...], rows: pd.DataFrame) -> dict[str, Any]:
    """Compare the values of one kind over classes; the noise of all has the fewest degrees of freedom of any."""
    by_class = rows.assign(variance=rows.stderr**2).groupby("class_id")
    means = by_class[["value_base", "value_new", "change"]].mean()
    counts = by_class.size().to_numpy(dtype=np.float64)
    variance = by_class.variance.sum().where(by_class.variance.count() == by_class.size())
    stderr = np.sqrt(variance.where(variance > 0).to_numpy(dtype=np.float64)) / counts
    freedom = rows.freedom.min()
    noise = Noise(stderr, float(freedom) if np.isfinite(freedom) else np.inf, "standard errors")
    differences = means.change.to_numpy(dtype=np.float64)
    return {
        **dict(zip(values.kinds, kind, strict=True)),
        "base": float(means.value_base.mean()),
        "new": float(means.value_new.mean()),
        "mean_change": float(differences.mean()),
        "n_classes": len(means),
        "p_value": shift_p_value(differences, noise),
    }


def has_moved(content: Mapping[str, Any] | None) -> bool:
    """Return whether any value differs between the audits, or has no counterpart."""
    return bool(content and (content["n_unmatched"] or any(row["change"] for row in content["classes"])))


def noise_words(content: Mapping[str, Any]) -> str:
    """Say how the changes were tested, and how many values of single classes moved."""
    n_tested = sum(row["p_value"] is not None for row in content["classes"])
    n_moved = sum(row["moved"] for row in content["classes"])
    n_rechosen = content["n_rechosen"]
    words = [
        f"{n_moved} of {n_tested} values of single classes that can be tested against standard errors moved.",
        f"{n_rechosen} values cannot, because they belong to different choices." if n_rechosen else "",
        f"Means over classes are tested by Wilcoxon's signed ranks, or with fewer than {FEWEST_FOR_RANKS} classes by "
        "whether more than half moved, if standard errors are known.",
    ]
    return " ".join(filter(None, words))


def value_tables(content: Mapping[str, Any], labels: Mapping[str, str] = NO_LABELS) -> tuple[HtmlTable, ...]:
    """Build the tables of a section of ``compare.html``: means over classes, and every class, moved ones first.

    Args:
        content: result of :func:`value_changes`.
        labels: columns that tell the values of a class apart => headings.
    """
    totals = content["totals"]
    named = {label: heading for label, heading in labels.items() if totals and label in totals[0]}
    base_and_new = {"base": "base", "new": "new"}
    columns = {**named, "measure": "measure", **base_and_new, "mean_change": "change", "n_classes": "classes"}
    tests = {"q_value": "adjusted p", "moved": "moved"}
    by_class = {"class_name": "class", **labels, "measure": "measure", **base_and_new, "change": "change"}
    return (
        table_of("Means over classes", columns | tests, totals),
        table_of_first("By class", by_class | {"stderr": "standard error"} | tests, _moved_first(content["classes"])),
    )


def _moved_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: (not row["moved"], 1.0 if row["q_value"] is None else row["q_value"]))


def value_markdown(content: Mapping[str, Any], labels: Mapping[str, str] = NO_LABELS) -> Iterator[str]:
    """Yield the tables of ``compare.md``: means over classes, and classes that moved."""
    totals = content["totals"]
    named = [label for label in labels if totals and label in totals[0]]
    yield "Means over classes:\n"
    yield markdown_table(totals, [*named, "measure", "base", "new", "mean_change", "n_classes", "q_value", "moved"])
    moved = [row for row in _moved_first(content["classes"]) if row["moved"]]
    if moved:
        yield "Classes that moved:\n"
        yield markdown_table(moved, ["class_name", *labels, "measure", "base", "new", "stderr", "q_value"])
