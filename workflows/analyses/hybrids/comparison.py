"""Comparison of the best mixture of each kind, per pair of classes."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cawa_core.hybrids.kinds import MIXED
from cawa_core.rendering.sections import Section
from cawa_core.tables import Manifest
from workflows.analyses.hybrids import HYBRIDS, HYBRIDS_TABLE
from workflows.compare.class_values import (
    NEUTRAL,
    ClassValues,
    has_moved,
    measured_values,
    noise_words,
    value_changes,
    value_markdown,
    value_tables,
)
from workflows.compare.pairing import Pair
from workflows.interface import Comparison, Content, NoOptions

MEASURES = ("harmony", "balance", "realism")
CHOICE = ("first_site", "sites", "k")
"""Columns that say which mixture was the best."""
LABELS = {"kind": "mixture", "reference_name": "mixed with"}


class HybridsComparison(Comparison[NoOptions]):
    """Comparison of harmony, balance and realism of the pairs of classes that both audits mixed."""

    ENTRIES = ("hybrids",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the mixtures (:func:`~workflows.compare.class_values.value_changes`)."""
        base, new = (_mixtures(audit.manifest) for audit in (pair.base, pair.new))
        labels = ("kind", "reference_id")
        values = ClassValues(
            measured_values(base, MEASURES, labels, CHOICE),
            measured_values(new, MEASURES, labels, CHOICE),
            labels,
            averaged="reference_id",
        )
        changes = value_changes(values, pair.class_names, level)
        names = pair.all_names
        for row in changes["classes"]:
            row["reference_name"] = names.get(row["reference_id"], str(row["reference_id"]))
        return {"hybrids": changes}

    def has_moved(self, content: Content) -> bool:
        """Return whether any mixture differs."""
        return has_moved(content["hybrids"])

    def sections(self, content: Content) -> list[Section]:
        """Show the mixtures on average over classes, and of each pair."""
        changes = content["hybrids"]
        lead = (
            f"The best mixture of each kind, scored on held-out latents. {noise_words(changes)} "
            f"{changes['n_unmatched']} values of one audit have no counterpart, because another seed draws other pairs "
            f"of classes. {NEUTRAL}"
        )
        return [Section(HYBRIDS.name, HYBRIDS.title, lead, tables=value_tables(changes, LABELS))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the means over classes, and the pairs that moved."""
        for text in value_markdown(content["hybrids"], LABELS):
            yield HYBRIDS.title, text


def _mixtures(manifest: Manifest) -> pd.DataFrame:
    """Read the rows of mixtures, without those of unmixed classes."""
    scores = [column for measure in MEASURES for column in (measure, f"{measure}_stderr")]
    columns = ["class_id", "reference_id", "kind", *CHOICE, *scores, "n_samples"]
    rows: pd.DataFrame = manifest.rows(HYBRIDS_TABLE.name, columns).to_pandas()
    return rows[rows.kind.isin(MIXED)].sort_values(["class_id", "reference_id", "kind"], ignore_index=True)
