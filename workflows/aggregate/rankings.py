"""The top channels of every class at one site, and over the channels of all sites together, by every criterion."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from cawa_core.schemas import ALL_SITES
from cawa_core.statistics.overlap import TopSets, top_channels
from workflows.aggregate.site_values import Ids, Matrix, SiteAwareness, SiteMasking

LARGEST_OVERLAP_SHARE = 0.5
"""Top sets of more than this share of the channels say nothing about which classes are alike."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The classes' top channels by one criterion, at one site or all.

    Attributes:
        site: index of the site, or ``ALL_SITES``.
        n_channels: channels that were ranked.
        class_ids: classes with a value for each of them, ascending ``[n]``.
        top: the best channels, best first ``[n, k]``; for all sites, they are numbered through.
        values: theirs ``[n, k]``.
    """

    site: int
    criterion: str
    n_channels: int
    class_ids: Ids
    top: TopSets
    values: Matrix


def site_rankings(site: int, awareness: SiteAwareness, masking: SiteMasking | None, largest: int) -> Iterator[Ranking]:
    """Every criterion that ranks any channel of a site, each with at most ``largest`` of them."""
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
    """Without the channels that no class ranks (inert ones), then without the classes that lack a value."""
    complete = known[:, ranked].all(axis=1)
    own = values if complete.all() and len(ranked) == values.shape[1] else values[np.ix_(complete, ranked)]
    k = min(largest, len(ranked))
    top = top_channels(own, k) if len(own) else np.zeros((0, k), np.int64)
    return Ranking(site, criterion, len(ranked), ids[complete], ranked[top], np.take_along_axis(own, top, axis=1))


class EverySite:
    """Top channels over all sites, from those of one site after another; sites come in ascending order.

    A channel among the k highest of all sites is among the k highest of its own, so that k candidates a class are
    all there is to keep.

    Args:
        largest: most channels of a top set.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._found: dict[str, Ranking] = {}
        self._offset = 0

    def add(self, rankings: Iterable[Ranking], n_channels: int) -> None:
        """Take in a site of ``n_channels``: its rankings by each criterion."""
        for own in rankings:
            own = dataclasses.replace(own, site=ALL_SITES, top=own.top + self._offset)
            known = self._found.get(own.criterion)
            self._found[own.criterion] = own if known is None else _merged(known, own, self._largest)
        self._offset += n_channels

    def rankings(self) -> list[Ranking]:
        """Every criterion with a class that has a value for every ranked channel of every site."""
        return [ranking for ranking in self._found.values() if len(ranking.class_ids)]


def _merged(one: Ranking, other: Ranking, largest: int) -> Ranking:
    class_ids, here, there = np.intersect1d(one.class_ids, other.class_ids, assume_unique=True, return_indices=True)
    values = np.concatenate([one.values[here], other.values[there]], axis=1)
    top = np.concatenate([one.top[here], other.top[there]], axis=1)
    best = np.argsort(-values, axis=1, kind="stable")[:, :largest]
    kept = (np.take_along_axis(each, best, axis=1) for each in (top, values))
    return Ranking(ALL_SITES, one.criterion, one.n_channels + other.n_channels, class_ids, *kept)
