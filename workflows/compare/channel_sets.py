"""How many of each class's top channels stayed its top channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.statistics.overlap import TopSets
from cawa_core.tables import Manifest
from workflows.aggregate.rankings import LARGEST_OVERLAP_SHARE, Ranking, site_rankings
from workflows.aggregate.site_values import site_awareness, site_masking
from workflows.compare.pairing import Pair

CRITERIA = ("category_highest", "expected_activation_highest", "masking_highest")


def set_changes(pair: Pair) -> pd.DataFrame:
    """Share of the top k that base and new have in common, by class, site, criterion and k.

    k: the sizes in ``overlap_k`` and ``shared_k`` of both audits, at most half of the channels of a site.

    Returns:
        columns ``class_id, site, criterion, k, overlap, overlap_by_chance``; identical checkpoints have overlap 1.
    """
    sizes = sorted({*pair.common("overlap_k"), *pair.common("shared_k")})
    parts = [part for site in map(int, pair.sites.site) for part in _of_site(pair, site, sizes)]
    columns = ["class_id", "site", "criterion", "k", "overlap", "overlap_by_chance"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _of_site(pair: Pair, site: int, sizes: Sequence[int]) -> Iterator[pd.DataFrame]:
    largest, masked = max(sizes, default=0), "masking" in pair.stages
    if not largest:
        return
    base, new = (_rankings(one.manifest, site, largest, masked) for one in (pair.base, pair.new))
    for criterion in CRITERIA:
        if criterion not in base or criterion not in new:
            continue
        ours, theirs = base[criterion], new[criterion]
        ids, here, there = np.intersect1d(ours.class_ids, theirs.class_ids, return_indices=True)
        channels = min(ours.n_channels, theirs.n_channels)
        for k in (size for size in sizes if size <= LARGEST_OVERLAP_SHARE * channels):
            yield pd.DataFrame(
                {
                    "class_id": ids,
                    "site": site,
                    "criterion": criterion,
                    "k": k,
                    "overlap": overlaps(ours.top[here, :k], theirs.top[there, :k]),
                    "overlap_by_chance": k / channels,
                }
            )


def _rankings(manifest: Manifest, site: int, largest: int, masked: bool) -> dict[str, Ranking]:
    awareness = site_awareness(manifest, site, all_sampled=False)
    masking = site_masking(manifest, site, awareness) if masked else None
    return {one.criterion: one for one in site_rankings(site, awareness, masking, largest)}


def overlaps(one: TopSets, other: TopSets) -> NDArray[np.float64]:
    """``|S ∩ S'| / k`` of the sets in each row: ``[n_classes, k]`` twice => ``[n_classes]``."""
    width = int(max(one.max(initial=0), other.max(initial=0))) + 1
    row = width * np.arange(len(one))[:, None]
    return np.asarray(np.isin(one + row, other + row).mean(axis=1), dtype=np.float64)


def set_summary(changes: pd.DataFrame) -> list[dict[str, Any]]:
    """By site, criterion and k: mean over classes and the class whose set moved most; the most moved sites first."""
    rows: list[dict[str, Any]] = []
    for _, part in changes.groupby(["criterion", "k", "site"]):
        least = part.iloc[int(part.overlap.to_numpy().argmin())]
        rows.append(
            {
                "criterion": str(least.criterion),
                "k": int(least.k),
                "site": int(least.site),
                "mean_overlap": float(part.overlap.mean()),
                "least_overlap": float(least.overlap),
                "least_class_id": int(least.class_id),
                "overlap_by_chance": float(least.overlap_by_chance),
            }
        )
    return sorted(rows, key=lambda row: (row["criterion"], -row["k"], row["mean_overlap"], row["site"]))


def set_summary_by_class(changes: pd.DataFrame) -> list[dict[str, Any]]:
    """By class, criterion and k: mean over sites."""
    means = changes.groupby(["class_id", "criterion", "k"], as_index=False).overlap.mean()
    return [
        {"class_id": int(row.class_id), "criterion": row.criterion, "k": int(row.k), "mean_overlap": float(row.overlap)}
        for row in means.itertuples()
    ]
