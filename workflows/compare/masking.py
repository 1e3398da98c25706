"""Which channels' masking effect moved beyond its standard errors."""

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
"""Moved channels that are written out, the surest first."""


@dataclasses.dataclass(frozen=True)
class MaskingChanges:
    """Effects of the channel groups that both audits masked.

    Attributes:
        n_groups: groups that both masked, and thus compared.
        n_unmatched: groups of either that the other has not (groups follow awareness order, which moves).
        n_unknown: compared ones without a standard error that differ nevertheless.
        by_class, by_site: ``n_groups``, ``n_moved`` and ``largest_change`` (absolute change of ``score_change``).
        moved: the surest of the moved groups.
    """

    n_groups: int
    n_unmatched: int
    n_unknown: int
    n_moved: int
    by_class: list[dict[str, Any]]
    by_site: list[dict[str, Any]]
    moved: list[dict[str, Any]]


def masking_changes(pair: Pair, level: float) -> MaskingChanges:
    """Compare ``score_change`` group by group; Benjamini-Hochberg over all groups at a level."""
    parts, unmatched = [], 0
    for site in map(int, pair.sites.site):
        part, missed = _of_site(pair, site)
        parts.append(part)
        unmatched += missed
    rows = pd.concat(parts, ignore_index=True)
    rows["q_value"] = adjusted(rows.p_value.to_numpy(dtype=np.float64))
    rows["moved"] = rows.q_value <= level
    rows["change"] = rows.score_change_new - rows.score_change_base
    moved = rows[rows.moved].sort_values(["q_value", "p_value", "class_id", "site"]).head(MOST_SHOWN)
    names = ["class_id", "site", "channels", "score_change_base", "score_change_new", "change", "q_value"]
    shown = moved[names].assign(class_name=moved.class_id.map(pair.class_names), channels=moved.channels.map(_listed))
    return MaskingChanges(
        n_groups=len(rows),
        n_unmatched=unmatched,
        n_unknown=int(rows.p_value.isna().sum()),
        n_moved=int(rows.moved.sum()),
        by_class=_counted(rows, "class_id"),
        by_site=_counted(rows, "site"),
        moved=records(shown),
    )


def _listed(channels: int | tuple[int, ...]) -> list[int]:
    return [int(channel) for channel in (channels if isinstance(channels, tuple) else (channels,))]


def _of_site(pair: Pair, site: int) -> tuple[pd.DataFrame, int]:
    """Groups that both masked at a site, with their p-values, and how many have no counterpart."""
    base, new = (_rows(one.manifest, site) for one in (pair.base, pair.new))
    both = base.merge(new, on=["class_id", "channels", "method"], suffixes=("_base", "_new"))
    p_value = difference_p_values(
        *(both[f"score_change_{which}"].to_numpy(dtype=np.float64) for which in ("base", "new")),
        *(both[f"score_change_stderr_{which}"].to_numpy(dtype=np.float64) for which in ("base", "new")),
        *(both[f"draws_{which}"].to_numpy(dtype=np.float64) for which in ("base", "new")),
    )
    kept = both[["class_id", "channels", "score_change_base", "score_change_new"]]
    return kept.assign(site=site, p_value=p_value), len(base) + len(new) - 2 * len(both)


def _rows(manifest: Manifest, site: int) -> pd.DataFrame:
    frame: pd.DataFrame = manifest.rows("masking", COLUMNS, sites=[site]).to_pandas()
    frame["channels"] = _one_or_several(frame.channels)
    frame["draws"] = frame.n_samples.where(frame.n_samples > 0, frame.n_screened)
    return frame.drop(columns=["n_samples", "n_screened"])


def _one_or_several(groups: pd.Series[Any]) -> Any:  # noqa: ANN401
    """Channels of each group as something to join on: numbers where all groups are of one, else sorted tuples."""
    if not len(groups):
        return groups.astype(np.int64)
    if (groups.str.len() == 1).all():
        return np.concatenate(groups.to_list())
    return [tuple(sorted(channels)) for channels in groups]


def difference_p_values(
    base: Array, new: Array, base_stderr: Array, new_stderr: Array, base_draws: Array, new_draws: Array
) -> Array:
    """Welch's two-sided p of differences of means ``[n]`` with their standard errors and draws ``[n]``.

    1 where nothing moved; NaN where something did and neither standard error is known and above zero.
    """
    variances = base_stderr**2, new_stderr**2
    with np.errstate(divide="ignore", invalid="ignore"):
        total = variances[0] + variances[1]
        freedom = total**2 / (variances[0] ** 2 / (base_draws - 1) + variances[1] ** 2 / (new_draws - 1))
        p_values = 2 * t.sf(np.abs(new - base) / np.sqrt(total), freedom)
    return np.where(new == base, 1.0, np.where(total > 0, p_values, np.nan))


def _counted(rows: pd.DataFrame, key: str) -> list[dict[str, Any]]:
    groups = rows.assign(size=rows.change.abs()).groupby(key)
    counts = groups.agg(n_groups=("moved", "size"), n_moved=("moved", "sum"), largest_change=("size", "max"))
    return records(counts.reset_index())
