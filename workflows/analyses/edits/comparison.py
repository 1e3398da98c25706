"""Comparison of the best edit of each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from cawa_core.rendering.html_tables import records
from cawa_core.rendering.sections import Section
from cawa_core.tables import Manifest
from workflows.analyses.edits import EDITS, EDITS_TABLE
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
from workflows.compare.tables import markdown_table, table_of_first
from workflows.interface import Comparison, Content, NoOptions

MEASURES = ("change", "locality", "kept")
CHOICE = ("site", "channel", "factor")
"""Columns that say which edit was the best."""
CHANNELS = {
    "class_name": "class",
    "base_site": "base, site",
    "base_channel": "base, channel",
    "new_site": "new, site",
    "new_channel": "new, channel",
}


class EditsComparison(Comparison[NoOptions]):
    """Comparison of the change, locality and class retention of the best edits, and of their channels."""

    ENTRIES = ("edits",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the edits (:func:`~workflows.compare.class_values.value_changes`)."""
        base, new = (_best(audit.manifest) for audit in (pair.base, pair.new))
        base_values = measured_values(base, MEASURES, choice=CHOICE)
        new_values = measured_values(new, MEASURES, choice=CHOICE)
        changes = value_changes(ClassValues(base_values, new_values), pair.class_names, level)
        channels = _channels(base, new)
        for row in channels:
            row["class_name"] = pair.class_names[row["class_id"]]
        n_changed = sum(row["changed"] for row in channels)
        return {"edits": changes | {"n_channels_changed": n_changed, "channels": channels}}

    def has_moved(self, content: Content) -> bool:
        """Return whether any edit differs."""
        return bool(content["edits"]["n_channels_changed"]) or has_moved(content["edits"])

    def sections(self, content: Content) -> list[Section]:
        """Show the edits on average over classes, of each class, and those whose channel changed."""
        changes = content["edits"]
        lead = (
            f"The best edit of each class, scored on held-out latents. In {_words(changes)} another channel is the "
            f"best. {noise_words(changes)} {NEUTRAL}"
        )
        changed = table_of_first("Classes whose best channel changed", CHANNELS, _changed(changes))
        return [Section(EDITS.name, EDITS.title, lead, tables=(*value_tables(changes), changed))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the means over classes, the classes that moved, and those whose best channel changed."""
        changes = content["edits"]
        for text in value_markdown(changes):
            yield EDITS.title, text
        yield EDITS.title, f"The best channel changed in {_words(changes)}:\n"
        yield EDITS.title, markdown_table(_changed(changes), list(CHANNELS))


def _best(manifest: Manifest) -> pd.DataFrame:
    """Read the best edit of each class."""
    scores = [column for measure in MEASURES for column in (measure, f"{measure}_stderr")]
    columns = ["class_id", "rank", *CHOICE, *scores, "n_samples"]
    rows: pd.DataFrame = manifest.rows(EDITS_TABLE.name, columns).to_pandas()
    return rows[rows["rank"] == 0].sort_values("class_id", ignore_index=True)


def _channels(base: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    """Return site and channel of the best edit of each class in both audits, and whether they differ."""
    columns = ["class_id", "site", "channel"]
    both = base[columns].merge(new[columns], on="class_id", suffixes=("_base", "_new"))
    changed = (both.site_base != both.site_new) | (both.channel_base != both.channel_new)
    names = {f"{name}_{side}": f"{side}_{name}" for name in columns[1:] for side in ("base", "new")}
    return records(both.assign(changed=changed).rename(columns=names))


def _changed(changes: Content) -> list[Content]:
    return [row for row in changes["channels"] if row["changed"]]


def _words(changes: Content) -> str:
    return f"{changes['n_channels_changed']} of {len(changes['channels'])} classes"
