"""The verdict as a sentence, and the Markdown summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.compare.results import comparisons, judging
from workflows.compare.tables import number

Rows = Sequence[Mapping[str, Any]]

MOST_NAMED = 5
"""Largest number of classes named in the verdict line; the files list all of them."""


def verdict_line(rows: Rows, moved: bool) -> str:
    """Say whether new is worse, for which classes and by which metric.

    Args:
        rows: rows with a ``verdict``, over all classes and per class; the latter have a ``class_id``.
        moved: whether any number of the two audits differs.
    """
    if not rows:
        names = [analysis.name for analysis in judging()]
        nothing = "" if moved else "; nothing moved"
        return f"not judged: {' or '.join(names)} is not in both audits{nothing}"
    classes = [row for row in rows if "class_id" in row]
    worse = [row for row in rows if row["verdict"] == "worse"]
    worse_totals = [row for row in worse if "class_id" not in row]
    if not worse:
        unknown = sum(row["verdict"] == "unknown" for row in classes)
        unjudged = f"; {unknown} of {len(classes)} values of classes cannot be judged" if unknown else ""
        better = len({row["class_id"] for row in classes if row["verdict"] == "better"})
        improved = f"; {better} {_classes(better)} better" if better else ""
        return f"{'not worse' if moved else 'identical: nothing moved'}{improved}{unjudged}"
    parts = ["over all classes " + ", ".join(map(change_words, worse_totals))] if worse_totals else []
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted((row for row in worse if "class_id" in row), key=lambda row: row["q_value"]):
        by_class.setdefault(str(row["class_name"]), []).append(row)
    parts += [f"{name} ({', '.join(map(change_words, rows))})" for name, rows in list(by_class.items())[:MOST_NAMED]]
    if len(by_class) > MOST_NAMED:
        more = len(by_class) - MOST_NAMED
        parts.append(f"and {more} more {_classes(more)}")
    return f"worse: {'; '.join(parts)}"


def seed_words(base: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say that the seeds of two audits differ, and whether their weights are the same; empty if the seeds are equal.

    Args:
        base, new: entries ``base`` and ``new`` of ``compare.json``.
    """
    if base["seed"] == new["seed"]:
        return ""
    weights = "same weights with" if base["generator_digest"] == new["generator_digest"] else "different"
    return f"; {weights} seeds {base['seed']} and {new['seed']}"


def _classes(count: int) -> str:
    return "class" if count == 1 else "classes"


def change_words(row: Mapping[str, Any]) -> str:
    """Format a change, for example ``fid 12.1 to 19.4``."""
    return f"{row['metric']} {number(row['base'])} to {number(row['new'])}"


def markdown(content: Mapping[str, Any]) -> str:
    """Return the Markdown summary, for a pull request or an e-mail.

    Args:
        content: content of ``compare.json``.
    """
    base, new = content["base"], content["new"]
    parts = [
        "# Comparison of two checkpoints\n",
        f"**{content['sentence']}**\n",
        f"Base: `{base['folder']}` (audit {base['audit'][:12]}). New: `{new['folder']}` (audit {new['audit'][:12]}).\n",
    ]
    if content["differing_options"]:
        differing = (
            f"{name} {value} / {new_value}" for name, (value, new_value) in content["differing_options"].items()
        )
        parts.append(f"Options that differ (base / new): {'; '.join(differing)}.\n")
    by_heading: dict[str, list[str]] = {}
    for comparison in comparisons(content):
        for heading, text in comparison.markdown(content):
            by_heading.setdefault(heading, []).append(text)
    for heading, texts in by_heading.items():
        parts += [f"## {heading}\n", *texts]
    if content["not_compared"]:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in content["not_compared"].items())
        parts.append(f"Not compared: {reasons}.\n")
    return "\n".join(parts)
