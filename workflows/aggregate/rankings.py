"""Top channels of every class by every criterion, at one site and over the channels of all sites."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from cawa_core.statistics.overlap import TopSets, top_channels
from cawa_core.table_schema import ALL_SITES
from workflows.aggregate.site_values import Ids, Matrix, SiteAwareness, SiteMasking

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


class EverySite:
    """Top channels over all sites, accumulated from the sites in ascending order.

    A channel among the k highest of all sites is among the k highest of its site, so k candidates per class suffice.

    Args:
        largest: largest number of channels in a top set.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._by_criterion: dict[str, Ranking] = {}
        self._offset = 0

    def add(self, rankings: Iterable[Ranking], n_channels: int) -> None:
        """Add the rankings of the next site, which has ``n_channels`` channels."""
        for ranking in rankings:
            shifted = dataclasses.replace(ranking, site=ALL_SITES, top=ranking.top + self._offset)
            previous = self._by_criterion.get(ranking.criterion)
            merged = shifted if previous is None else _merge(previous, shifted, self._largest)
            self._by_criterion[ranking.criterion] = merged
        self._offset += n_channels

    def rankings(self) -> list[Ranking]:
        """Return the ranking by each criterion for which some class has values for all ranked channels of all sites."""
        return [ranking for ranking in self._by_criterion.values() if len(ranking.class_ids)]


def _merge(a: Ranking, b: Ranking, largest: int) -> Ranking:
    class_ids, rows_a, rows_b = np.intersect1d(a.class_ids, b.class_ids, assume_unique=True, return_indices=True)
    values = np.concatenate([a.values[rows_a], b.values[rows_b]], axis=1)
    top = np.concatenate([a.top[rows_a], b.top[rows_b]], axis=1)
    best = np.argsort(-values, axis=1, kind="stable")[:, :largest]
    best_channels = np.take_along_axis(top, best, axis=1)
    best_values = np.take_along_axis(values, best, axis=1)
    return Ranking(ALL_SITES, a.criterion, a.n_channels + b.n_channels, class_ids, best_channels, best_values)
