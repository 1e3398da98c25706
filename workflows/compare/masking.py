"""Channel groups whose masking effect moved beyond its standard errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from cawa_core.rendering.html_tables import records
from cawa_core.tables import Manifest
from workflows.compare.metrics import adjusted
from workflows.compare.pairing import Pair

Array = NDArray[np.float64]

COLUMNS = ["class_id", "channels", "score_change", "score_change_stderr", "method", "n_samples", "n_screened"]
MOST_SHOWN = 100
"""Largest number of moved groups that are listed, the most significant first."""


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
    frame: pd.DataFrame = manifest.rows("masking", COLUMNS, sites=[site]).to_pandas()
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


def difference_p_values(
    base: Array, new: Array, base_stderr: Array, new_stderr: Array, base_draws: Array, new_draws: Array
) -> Array:
    """Return Welch's two-sided p-values ``[n]`` of differences of means, given standard errors and draws ``[n]``.

    They are 1 where nothing moved, and NaN where something moved without a known standard error above zero.
    """
    base_variance = base_stderr**2
    new_variance = new_stderr**2
    with np.errstate(divide="ignore", invalid="ignore"):
        total = base_variance + new_variance
        freedom = total**2 / (base_variance**2 / (base_draws - 1) + new_variance**2 / (new_draws - 1))
        p_values = 2 * t.sf(np.abs(new - base) / np.sqrt(total), freedom)
    return np.where(new == base, 1.0, np.where(total > 0, p_values, np.nan))


def _counts_by(rows: pd.DataFrame, key: str) -> list[dict[str, Any]]:
    groups = rows.assign(size=rows.change.abs()).groupby(key)
    counts = groups.agg(n_groups=("moved", "size"), n_moved=("moved", "sum"), largest_change=("size", "max"))
    return records(counts.reset_index())
