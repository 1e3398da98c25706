"""Artifact units in the summary and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.figures import compared_bars
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section, Tables, class_names
from cawa_core.statistics.verdicts import SMALLEST_GAIN, joint_verdict
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses.artifact_units import (
    ARTIFACT,
    ARTIFACT_REMOVAL_TABLE,
    ARTIFACT_UNITS,
    ARTIFACT_UNITS_TABLE,
    NONE,
    RANDOM,
    ArtifactUnitOptions,
)
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

MEASURES = {"fid": "FID", "precision": "precision", "recall": "recall", "changed": "pixels with other concepts"}
WORDS = {NONE: "before", RANDOM: "without random units", ARTIFACT: "without artifact units"}
QUALITY_COLUMNS = {"n_units": "units", "words": "measure", **WORDS, "n_classes": "classes"}
UNIT_COLUMNS = {
    "site": "site",
    "channel": "channel",
    "n_classes": "classes",
    "by_chance": "classes by chance",
    "fid": "FID of the images that excite it",
    "fid_by_chance": "FID of random images",
}
MOST_LISTED = 12
"""Units on the page."""


class ArtifactUnitsResults(Results[ArtifactUnitOptions]):
    """Quality of images without artifact units, and the units that are artifact units of most classes."""

    def summary(self, findings: Findings) -> Content:
        """Return the means over classes, the gains that decide the claims, and the units of most classes."""
        removals = findings.manifest.table(ARTIFACT_REMOVAL_TABLE.name)
        if removals.empty:
            return {"artifact_units": None}
        units = findings.manifest.table(ARTIFACT_UNITS_TABLE.name)
        n_units = int(findings.manifest.table(SITES_TABLE.name).channels.sum())
        return {
            "artifact_units": {
                "removals": removal_summary(removals, findings.resamples),
                "units": units_of_most_classes(units, n_units),
            }
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether images are closer to real ones without artifact units than before, and than without others."""
        entry = summary.get("artifact_units")
        return artifact_claims(entry["removals"], class_names(summary)) if entry else []

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        entry = summary.get("artifact_units")
        return [artifact_section(entry)] if entry else []


def removal_summary(removals: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Summarise the quality of images before and without each number of units over classes.

    Args:
        removals: ``artifact_removal``.
        resamples: bootstrap over classes.

    Returns:
        By number of units: ``quality``, the means of each measure; and, typical over classes and over FID before, how
        much lower FID without artifact units is than before (``gain_over_before``) and than without random units
        (``gain_over_random``).
    """
    before = removals[removals.removed == NONE].set_index("class_id")
    summary = []
    for _, part in removals[removals.removed != NONE].groupby("n_units"):
        means = part.groupby(["removed", "class_id"])[list(MEASURES)].mean()
        states = {NONE: before} | {removed: means.loc[removed] for removed in (RANDOM, ARTIFACT)}
        ratios = pd.DataFrame({removed: states[removed].fid / before.fid for removed in (RANDOM, ARTIFACT)})
        quality = {
            measure: resamples.means(pd.DataFrame({removed: state[measure] for removed, state in states.items()}))
            for measure in MEASURES
        }
        summary.append(
            {
                "n_units": int(part.n_units.iloc[0]),
                "n_classes": len(ratios),
                "quality": quality,
                "gain_over_before": typical_value(1 - ratios[ARTIFACT]),
                "gain_over_random": typical_value(ratios[RANDOM] - ratios[ARTIFACT]),
            }
        )
    return summary


def units_of_most_classes(units: pd.DataFrame, n_units: int) -> list[dict[str, Any]]:
    """Return the units that are artifact units of most classes, with the mean distances over these classes.

    Args:
        units: ``artifact_units``.
        n_units: number of units of the generator.

    Returns:
        Rows with ``n_classes``, and ``by_chance``, the mean number of classes over all units.
    """
    by_chance = len(units) / n_units
    each = units.groupby(["site", "channel"], as_index=False).agg(
        n_classes=("class_id", "size"), fid=("fid", "mean"), fid_by_chance=("fid_by_chance", "mean")
    )
    ordered = each.sort_values(["n_classes", "fid", "site", "channel"], ascending=[False, False, True, True])
    return [{**row, "by_chance": by_chance} for row in records(ordered.head(MOST_LISTED))]


def artifact_claims(removals: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[Claim]:
    """Decide both comparisons, each for every number of units."""
    statements = {
        "gain_over_before": "Without its artifact units, a class's images are closer to real ones than before.",
        "gain_over_random": "Without its artifact units, a class's images are closer to real ones than without as many "
        "random units.",
    }
    claims = []
    for gain, statement in statements.items():
        verdicts = [typical_verdict(row[gain], 1, SMALLEST_GAIN) for row in removals]
        parts = ". ".join(
            f"{row['n_units']} units, {_quality_words(row)}; FID lower by {typical_words(row[gain], names)}"
            for row in removals
        )
        other = "before" if gain == "gain_over_before" else "without random units"
        evidence = f"Means over classes, and how much lower FID is than {other}, as a share of FID before: {parts}."
        claims.append(Claim(statement, joint_verdict(verdicts), evidence, "Bau et al. 2019, sec. 4.2"))
    return claims


def _quality_words(row: Mapping[str, Any]) -> str:
    fid, precision = row["quality"]["fid"], row["quality"]["precision"]
    return (
        f"FID {fid[ARTIFACT]:.3g} without artifact units, {fid[RANDOM]:.3g} without random units, {fid[NONE]:.3g} "
        f"before; precision {precision[ARTIFACT]:.2f}, {precision[RANDOM]:.2f}, {precision[NONE]:.2f}"
    )


def artifact_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``artifact_units`` of the summary.
    """
    removals = entry["removals"]
    lead = (
        "Artifact units of a class are those for which the images that excite them most, 5% of those of the class, are "
        "farthest from its real images (Fréchet distance). They are removed (zero everywhere) in other images of the "
        "class, which are compared with its real images, and so are as many random units. FID of few images is larger "
        "than that of many, so compare the columns with one another only."
    )
    rows = [
        {"n_units": row["n_units"], "n_classes": row["n_classes"], "words": words}
        | {name: _with_interval(row["quality"][measure], name) for name in WORDS}
        for row in removals
        for measure, words in MEASURES.items()
    ]
    precisions = [{**row["quality"]["precision"], "n_units": f"{row['n_units']} units"} for row in removals]
    methods = {RANDOM: "random units", ARTIFACT: "artifact units"}
    before = removals[0]["quality"]["precision"][NONE]
    title = f"Precision without units ({before:.2f} before)"
    bars = compared_bars("artifact-units", title, precisions, "n_units", methods, "precision")
    quality = table_of("Quality of images without units, means over classes [95% interval]", QUALITY_COLUMNS, rows)
    listed = table_of("Artifact units of most classes", UNIT_COLUMNS, entry["units"])
    return Section(ARTIFACT_UNITS.name, ARTIFACT_UNITS.title, lead, (bars,), (quality, listed))


def _with_interval(means: Mapping[str, Any], name: str) -> str:
    interval = means[f"{name}_ci"]
    words = f"{means[name]:.3g}"
    return words if interval is None else f"{words} [{interval[0]:.3g}, {interval[1]:.3g}]"
