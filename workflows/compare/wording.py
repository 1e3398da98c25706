"""The verdict as a sentence, and the Markdown summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.compare.quality import QUALITIES

MOST_NAMED = 5
"""Largest number of classes named in the verdict line; the files list all of them."""


def verdict_line(totals: Sequence[Mapping[str, Any]], classes: Sequence[Mapping[str, Any]], moved: bool) -> str:
    """Say whether new is worse, for which classes and by which metric.

    Args:
        totals, classes: rows with a ``verdict``, over all classes and per class.
        moved: whether any number of the two audits differs.
    """
    worse_totals = [row for row in totals if row["verdict"] == "worse"]
    worse = [row for row in classes if row["verdict"] == "worse"]
    if not worse_totals and not worse:
        unknown = sum(row["verdict"] == "unknown" for row in classes)
        unjudged = f"; {unknown} of {len(classes)} class metrics cannot be judged" if unknown else ""
        better = len({row["class_id"] for row in classes if row["verdict"] == "better"})
        improved = f"; {better} {_classes(better)} better" if better else ""
        if not totals:
            return "not judged: class_metrics is not in both audits"
        return f"{'not worse' if moved else 'identical: nothing moved'}{improved}{unjudged}"
    parts = ["over all classes " + ", ".join(map(change_words, worse_totals))] if worse_totals else []
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(worse, key=lambda row: row["q_value"]):
        by_class.setdefault(str(row["class_name"]), []).append(row)
    parts += [f"{name} ({', '.join(map(change_words, rows))})" for name, rows in list(by_class.items())[:MOST_NAMED]]
    if len(by_class) > MOST_NAMED:
        more = len(by_class) - MOST_NAMED
        parts.append(f"and {more} more {_classes(more)}")
    return f"worse: {'; '.join(parts)}"


def _classes(count: int) -> str:
    return "class" if count == 1 else "classes"


def change_words(row: Mapping[str, Any]) -> str:
    """Format a change, for example ``fid 12.1 to 19.4``."""
    return f"{row['metric']} {number(row['base'])} to {number(row['new'])}"


def number(value: float | None) -> str:
    """Format a number with three digits; a dash if it is unknown."""
    return "–" if value is None else f"{value:.3g}"


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return the Markdown summary, for a pull request or an e-mail.

    Args:
        comparison: content of ``compare.json``.
    """
    base, new = comparison["base"], comparison["new"]
    parts = [
        "# Comparison of two checkpoints\n",
        f"**{comparison['sentence']}**\n",
        f"Base: `{base['folder']}` (audit {base['audit'][:12]}). New: `{new['folder']}` (audit {new['audit'][:12]}).\n",
    ]
    if comparison["differing_options"]:
        differing = (
            f"{name} {value} / {new_value}" for name, (value, new_value) in comparison["differing_options"].items()
        )
        parts.append(f"Options that differ (base / new): {'; '.join(differing)}.\n")
    metrics = comparison["class_metrics"]
    if metrics:
        parts += ["## Over all classes\n", _table(metrics["totals"], ("metric", "base", "new", "q_value", "verdict"))]
        moved = [row for row in metrics["classes"] if row["verdict"] in ("worse", "better")]
        columns = ("class_name", "metric", "base", "new", "stderr", "q_value", "verdict")
        parts += ["## Classes that moved\n", _table(sorted(moved, key=lambda row: row["q_value"]), columns)]
    parts += _channels(comparison)
    parts += _correlations(comparison["correlations"])
    return "\n".join(parts)


def _channels(comparison: Mapping[str, Any]) -> list[str]:
    parts = []
    if comparison["masking_effects"]:
        effects = comparison["masking_effects"]
        parts.append(
            f"## Channels\n\nThe effect of masking moved significantly in {effects['n_moved']} of "
            f"{effects['n_groups']} channel groups that both audits masked ({effects['n_unmatched']} without a "
            "counterpart).\n"
        )
    if comparison["channel_sets"]:
        moved = [row for row in comparison["channel_sets"]["by_site"] if row["n_moved"]]
        columns = ["criterion", "k", "site", "mean_overlap", "expected_overlap", "n_moved", "n_judged"]
        columns += ["least_overlap", "overlap_by_chance"]
        parts += [f"Top channels that moved, by site. {set_words(comparison)}\n", _table(moved, columns)]
    return parts


def _correlations(correlations: Mapping[str, Any]) -> list[str]:
    parts = []
    if correlations["masking"]:
        moved = [row for row in correlations["masking"] if row["n_moved"]]
        columns = ["predictor", "target", "base", "new", "mean_change", "null_std", "n_moved", "n_pairs"]
        parts += ["Awareness with masking, over class-site pairs:\n", _table(moved, columns)]
    if correlations["metrics"]:
        moved = [row for row in correlations["metrics"] if row["moved"]]
        columns = ["metric", "pearson_base", "ci_low_base", "ci_high_base", "pearson_new", "ci_low_new", "ci_high_new"]
        parts += [
            "Total awareness with class metrics, where the 95% intervals do not overlap:\n",
            _table(moved, columns),
        ]
    return ["## Correlations that moved\n", *parts] if parts else []


def exactness(comparison: Mapping[str, Any]) -> str:
    """Say how total awareness was computed."""
    exact = comparison["total_awareness_is_exact"]
    sampled = comparison["sampled_sites"]
    if exact is None:
        return "exact at affine sites, sampled at others"
    return "exact" if exact else f"sampled at {_sites(sampled)}, where it moves with the seed"


def set_words(comparison: Mapping[str, Any]) -> str:
    """Say which top sets are exact."""
    sampled = comparison["sampled_sites"]
    if not sampled:
        return (
            "Category awareness and expected activation are exact, so only weights move them; the effect of masking is "
            "sampled and moves with the seed."
        )
    return (
        f"Awareness is sampled at {_sites(sampled)} and moves with the seed there, as the effect of masking does; at "
        "other sites only weights move it."
    )


def _sites(sites: Sequence[int]) -> str:
    return f"site {sites[0]}" if len(sites) == 1 else f"sites {', '.join(map(str, sites))}"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], most: int = 50) -> str:
    if not rows:
        return "None.\n"
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in columns)} |" for row in rows[:most]]
    if len(rows) > most:
        lines.append(f"\n{len(rows) - most} more rows are in `compare.json`.")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return str(value) if isinstance(value, int) else number(value)


def threshold_words(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the threshold of each metric, as table rows."""
    return [
        {
            "metric": metric,
            "worse": "a rise" if quality.worse > 0 else "a drop",
            "threshold": spec[quality.threshold],
            "of": "relative to the base" if quality.relative else "absolute",
        }
        for metric, quality in QUALITIES.items()
    ]
