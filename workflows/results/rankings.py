"""Top channels of every class at one site, by every criterion."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from cawa_core.statistics.overlap import TopSets, top_channels
from workflows.analyses.awareness.sites import Ids, Matrix, SiteAwareness
from workflows.analyses.masking.sites import SiteMasking

CRITERION_WORDS = {
    "category_highest": "highest category awareness",
    "category_lowest": "lowest category awareness",
    "latent_highest": "highest latent awareness",
    "expected_activation_highest": "highest expected activation",
    "masking_highest": "highest masking effect",
}
"""Criteria that rank channels, and what they are called in reports."""

LARGEST_OVERLAP_SHARE = 0.5
"""Largest share of the channels in a top set; larger sets say nothing about which classes are alike."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Top channels of the classes by one criterion, at one site or over all sites.

    Attributes:
        site: index of the site, or ``ALL_SITES``.
        n_channels: number of ranked channels.
        class_ids: classes with a value for every ranked channel, ascending ``[n]``.
        top: the best channels, best first ``[n, k]``; over all sites, channels are numbered consecutively.
        values: values of the top channels ``[n, k]``.
    """

    site: int
    criterion: str
    n_channels: int
    class_ids: Ids
    top: TopSets
    values: Matrix


def site_rankings(site: int, awareness: SiteAwareness, masking: SiteMasking | None, largest: int) -> Iterator[Ranking]:
    """Yield the ranking of a site by each criterion that ranks any channel, with at most ``largest`` channels each."""
    category = awareness.predictors["category_awareness"]
    criteria = {
        "category_highest": category,
        "category_lowest": -category,
        "latent_highest": awareness.latent_ranking,
        "expected_activation_highest": awareness.predictors["expected_activation"],
    }
    if masking is not None:
        criteria["masking_highest"] = masking.by_channel
    for criterion, values in criteria.items():
        known = ~(np.isnan(values) | awareness.inert)
        ranked = np.flatnonzero(known.any(axis=0))
        if len(ranked):
            yield _ranking(site, criterion, values, known, ranked, awareness.class_ids, largest)


def _ranking(site: int, criterion: str, values: Matrix, known: Matrix, ranked: Ids, ids: Ids, largest: int) -> Ranking:
    """Rank after dropping channels that no class ranks (inert ones), then classes that lack a value."""
    complete = known[:, ranked].all(axis=1)
    complete_values = values if complete.all() and len(ranked) == values.shape[1] else values[np.ix_(complete, ranked)]
    k = min(largest, len(ranked))
    top = top_channels(complete_values, k) if len(complete_values) else np.zeros((0, k), np.int64)
    top_values = np.take_along_axis(complete_values, top, axis=1)
    return Ranking(site, criterion, len(ranked), ids[complete], ranked[top], top_values)
