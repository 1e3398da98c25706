"""Overlap of each class's top channels in two audits."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.overlap import COMPARED_CRITERIA
from cawa_core.tables import Manifest
from workflows.analyses.awareness.sites import Ids, SiteAwareness, site_awareness
from workflows.analyses.awareness.turnover import (
    NoisyValues,
    masking_values,
    overlaps,
    overlaps_by_noise,
    sampled_awareness,
)
from workflows.analyses.masking import MASKING
from workflows.analyses.masking.sites import site_masking
from workflows.compare.pairing import Pair
from workflows.results.rankings import LARGEST_OVERLAP_SHARE, Ranking, site_rankings

COLUMNS = ("class_id", "site", "criterion", "k", "overlap", "expected", "lowest", "overlap_by_chance")


def set_changes(pair: Pair, sampled_sites: Collection[int]) -> pd.DataFrame:
    """Return the share of the top k that base and new have in common, by class, site, criterion and k.

    The sizes k are those in ``overlap_k`` and ``shared_k`` of both audits, up to half of the channels of a site.

    Args:
        pair: the audits.
        sampled_sites: sites where awareness is sampled.

    Returns:
        Columns ``COLUMNS``; identical checkpoints have overlap 1. ``expected`` and ``lowest``: mean and least overlap
        of draws that differ only by noise (:mod:`workflows.analyses.awareness.turnover`); 1 where awareness is a closed
        form, NaN where a standard error is unknown.
    """
    sizes = sorted({*pair.common("overlap_k"), *pair.common("shared_k")})
    parts = [
        part
        for site in map(int, pair.sites.site)
        for part in _site_changes(pair, site, sizes, exact=site not in sampled_sites)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _site_changes(pair: Pair, site: int, sizes: Sequence[int], exact: bool) -> Iterator[pd.DataFrame]:
    largest = max(sizes, default=0)
    masked = pair.has(MASKING)
    if not largest:
        return
    sides = [_Side.read(audit.manifest, site, largest, masked) for audit in (pair.base, pair.new)]
    for criterion in COMPARED_CRITERIA:
        if any(criterion not in side.rankings for side in sides):
            continue
        base, new = (side.rankings[criterion] for side in sides)
        ids, base_rows, new_rows = np.intersect1d(base.class_ids, new.class_ids, return_indices=True)
        channels = min(base.n_channels, new.n_channels)
        fitting = [size for size in sizes if size <= LARGEST_OVERLAP_SHARE * channels]
        expected, lowest = _noise_overlaps(sides, criterion, exact, ids, fitting)
        for place, k in enumerate(fitting):
            columns = {
                "class_id": ids,
                "site": site,
                "criterion": criterion,
                "k": k,
                "overlap": overlaps(base.top[base_rows, :k], new.top[new_rows, :k]),
                "expected": expected[:, place],
                "lowest": lowest[:, place],
                "overlap_by_chance": k / channels,
            }
            yield pd.DataFrame(columns)


@dataclasses.dataclass(frozen=True)
class _Side:
    """Rankings of one audit at one site."""

    manifest: Manifest
    site: int
    awareness: SiteAwareness
    rankings: dict[str, Ranking]

    @classmethod
    def read(cls, manifest: Manifest, site: int, largest: int, masked: bool) -> _Side:
        awareness = site_awareness(manifest, site, all_sampled=False)
        masking = site_masking(manifest, site, awareness) if masked else None
        rankings = {ranking.criterion: ranking for ranking in site_rankings(site, awareness, masking, largest)}
        return cls(manifest, site, awareness, rankings)

    def noisy(self, criterion: str) -> NoisyValues:
        if criterion == "masking_highest":
            return masking_values(self.manifest, self.site, self.awareness)
        return sampled_awareness(self.manifest, self.site)


def _noise_overlaps(
    sides: Sequence[_Side], criterion: str, exact: bool, ids: Ids, sizes: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and least overlap under noise alone ``[n_classes, len(sizes)]``, over draws from both audits."""
    shape = len(ids), len(sizes)
    if exact and criterion != "masking_highest":
        return np.ones(shape), np.ones(shape)
    if criterion == "expected_activation_highest" or 0 in shape:  # the tables hold no standard error for it
        return np.full(shape, np.nan), np.full(shape, np.nan)
    random = random_generator(0, SHARED_CLASS, sides[0].site, "turnover")
    draws = np.concatenate([overlaps_by_noise(side.noisy(criterion).of(ids), sizes, random) for side in sides])
    return draws.mean(axis=0), draws.min(axis=0)


def set_summary(changes: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise by site, criterion and k: mean over classes, and the class that moved most; most moved sites first.

    ``n_moved`` counts the classes that share fewer channels than in any draw that differs only by noise, among the
    ``n_judged`` classes whose noise is known.
    """
    rows: list[dict[str, Any]] = []
    for _, part in changes.groupby(["criterion", "k", "site"]):
        least = part.iloc[int(part.overlap.to_numpy().argmin())]
        rows.append(
            {
                "criterion": str(least.criterion),
                "k": int(least.k),
                "site": int(least.site),
                "mean_overlap": float(part.overlap.mean()),
                "expected_overlap": float(part.expected.mean()),
                "n_moved": int((part.overlap < part.lowest).sum()),
                "n_judged": int(part.lowest.notna().sum()),
                "least_overlap": float(least.overlap),
                "least_class_id": int(least.class_id),
                "overlap_by_chance": float(least.overlap_by_chance),
            }
        )
    return sorted(rows, key=lambda row: (row["criterion"], -row["k"], row["mean_overlap"], row["site"]))


def set_summary_by_class(changes: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise by class, criterion and k: mean over sites of the overlap, and of the overlap under noise alone."""
    means = changes.groupby(["class_id", "criterion", "k"], as_index=False)[["overlap", "expected"]].mean()
    return [
        {
            "class_id": int(row["class_id"]),
            "criterion": row["criterion"],
            "k": int(row["k"]),
            "mean_overlap": float(row["overlap"]),
            "expected_overlap": float(row["expected"]),
        }
        for row in means.to_dict("records")
    ]
