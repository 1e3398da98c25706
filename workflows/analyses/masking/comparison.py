"""Channel groups whose masking effect moved beyond its standard errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section
from cawa_core.statistics.many_tests import adjusted
from cawa_core.tables import Manifest
from workflows.analyses.masking import MASKING_TABLE
from workflows.compare.pairing import Pair
from workflows.compare.significance import difference_p_values
from workflows.compare.tables import table_of_first
from workflows.interface import Comparison, Content, NoOptions

Array = NDArray[np.float64]

COLUMNS = ["class_id", "channels", "score_change", "score_change_stderr", "method", "n_samples", "n_screened"]
MOST_SHOWN = 100
"""Largest number of moved groups that are listed, the most significant first."""


class MaskingComparison(Comparison[NoOptions]):
    """Comparison of the effects of channel groups that both audits masked."""

    ENTRIES = ("masking_effects",)

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the effect of every group; see :func:`masking_changes`."""
        return {"masking_effects": dataclasses.asdict(masking_changes(pair, level))}

    def has_moved(self, content: Content) -> bool:
        """Return whether any effect differs, or any group has no counterpart."""
        effects = content["masking_effects"]
        return bool(effects["n_unmatched"]) or any(row["largest_change"] for row in effects["by_class"])

    def sections(self, content: Content) -> list[Section]:
        """Show the groups that moved, and counts by class and by site."""
        effects = content["masking_effects"]
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
        names = content["class_names"]
        by_class = [row | {"class": names[str(row["class_id"])]} for row in effects["by_class"]]
        lead = (
            f"In {effects['n_moved']} of {effects['n_groups']} channel groups, the effect of masking on the "
            f"probability of the class changed; {effects['n_unmatched']} groups of one audit have no counterpart in "
            "the other. Neither direction is better, so this does not enter the verdict."
        )
        tables = (
            table_of_first("Channels whose effect moved, the most significant", columns, moved),
            table_of("By class", {"class": "class"} | counts, by_class),
            table_of("By site", {"site": "site"} | counts, effects["by_site"]),
        )
        return [Section("masking", "Effects of masking", lead, tables=tables)]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """Say how many groups moved."""
        effects = content["masking_effects"]
        yield (
            "Channels",
            f"The effect of masking moved significantly in {effects['n_moved']} of {effects['n_groups']} channel "
            f"groups that both audits masked ({effects['n_unmatched']} without a counterpart).\n",
        )


@dataclasses.dataclass(frozen=True)
class MaskingChanges:
    """Effects of the channel groups that both audits masked.

    Attributes:
        n_groups: groups that both audits masked, which are compared.
        n_unmatched: groups of one audit without a counterpart in the other (groups follow the awareness order, which
            changes with the weights).
        n_unknown: compared groups that differ but have no standard error.
        n_moved: groups that moved significantly.
        by_class, by_site: ``n_groups``, ``n_moved`` and ``largest_change`` (absolute change of ``score_change``).
        moved: the most significant of the moved groups.
    """

    n_groups: int
    n_unmatched: int
    n_unknown: int
    n_moved: int
    by_class: list[dict[str, Any]]
    by_site: list[dict[str, Any]]
    moved: list[dict[str, Any]]


def masking_changes(pair: Pair, level: float) -> MaskingChanges:
    """Compare ``score_change`` group by group, with Benjamini-Hochberg over all groups at the given level."""
    parts = []
    unmatched = 0
    for site in map(int, pair.sites.site):
        part, n_unmatched = _site_groups(pair, site)
        parts.append(part)
        unmatched += n_unmatched
    rows = pd.concat(parts, ignore_index=True)
    rows["q_value"] = adjusted(rows.p_value.to_numpy(dtype=np.float64))
    rows["moved"] = rows.q_value <= level
    rows["change"] = rows.score_change_new - rows.score_change_base
    moved = rows[rows.moved].sort_values(["q_value", "p_value", "class_id", "site"]).head(MOST_SHOWN)
    names = ["class_id", "site", "channels", "score_change_base", "score_change_new", "change", "q_value"]
    listed = moved[names].assign(
        class_name=moved.class_id.map(pair.class_names), channels=moved.channels.map(_channel_list)
    )
    return MaskingChanges(
        n_groups=len(rows),
        n_unmatched=unmatched,
        n_unknown=int(rows.p_value.isna().sum()),
        n_moved=int(rows.moved.sum()),
        by_class=_counts_by(rows, "class_id"),
        by_site=_counts_by(rows, "site"),
        moved=records(listed),
    )


def _channel_list(channels: int | tuple[int, ...]) -> list[int]:
    return [int(channel) for channel in (channels if isinstance(channels, tuple) else (channels,))]


def _site_groups(pair: Pair, site: int) -> tuple[pd.DataFrame, int]:
    """Return the groups that both audits masked at a site, with p-values, and the number without a counterpart."""
    base, new = (_rows(audit.manifest, site) for audit in (pair.base, pair.new))
    both = base.merge(new, on=["class_id", "channels", "method"], suffixes=("_base", "_new"))
    columns = ("score_change", "score_change_stderr", "draws")
    arrays = [both[f"{name}_{side}"].to_numpy(dtype=np.float64) for name in columns for side in ("base", "new")]
    p_value = difference_p_values(*arrays)
    groups = both[["class_id", "channels", "score_change_base", "score_change_new"]]
    return groups.assign(site=site, p_value=p_value), len(base) + len(new) - 2 * len(both)


def _rows(manifest: Manifest, site: int) -> pd.DataFrame:
    frame: pd.DataFrame = manifest.rows(MASKING_TABLE.name, COLUMNS, sites=[site]).to_pandas()
    frame["channels"] = _join_keys(frame.channels)
    frame["draws"] = frame.n_samples.where(frame.n_samples > 0, frame.n_screened)
    return frame.drop(columns=["n_samples", "n_screened"])


def _join_keys(groups: pd.Series[Any]) -> Any:  # noqa: ANN401
    """Convert the channels of each group to join keys: numbers if all groups have one channel, else sorted tuples."""
    if not len(groups):
        return groups.astype(np.int64)
    if (groups.str.len() == 1).all():
        return np.concatenate(groups.to_list())
    return [tuple(sorted(channels)) for channels in groups]


def _counts_by(rows: pd.DataFrame, key: str) -> list[dict[str, Any]]:
    groups = rows.assign(size=rows.change.abs()).groupby(key)
    counts = groups.agg(n_groups=("moved", "size"), n_moved=("moved", "sum"), largest_change=("size", "max"))
    return records(counts.reset_index())
