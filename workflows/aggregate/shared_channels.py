"""Rows of ``shared_channels`` (Table 1) and of ``top_channel_popularity`` (Appendix C)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cawa_core.statistics.overlap import first_choices, shared_by_all, shared_by_chance
from workflows.aggregate.rankings import Ranking


def shared_channel_rows(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the number of channels in the top set of every class, by size of the sets."""
    set_sizes = list(sizes)
    for ranking in rankings:
        n_classes = len(ranking.class_ids)
        for k in set_sizes:
            if k <= ranking.n_channels and n_classes:
                yield {
                    "site": ranking.site,
                    "k": k,
                    "criterion": ranking.criterion,
                    "shared": shared_by_all(ranking.top[:, :k]),
                    "shared_by_chance": shared_by_chance(ranking.n_channels, k, n_classes),
                    "n_classes": n_classes,
                }


def popularity_rows(rankings: Iterable[Ranking]) -> Iterator[dict[str, Any]]:
    """Yield the channels that rank first, and for how many classes."""
    for ranking in rankings:
        for channel, n_classes in first_choices(ranking.top).items():
            yield {"site": ranking.site, "channel": channel, "criterion": ranking.criterion, "n_classes": n_classes}
