"""Derivation of ``shared_channels`` (Table 1) and ``top_channel_popularity`` (Appendix C)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cawa_core.statistics.overlap import first_choices, shared_by_all, shared_by_chance
from cawa_core.tables import PublishedFile, publish, rows_of
from workflows.analyses.shared_channels import (
    SHARED_CHANNELS_TABLE,
    TOP_CHANNEL_POPULARITY_TABLE,
    SharedChannelOptions,
)
from workflows.interface import Derivation
from workflows.results.rankings import Ranking
from workflows.results.sites import SiteResults


class SharedChannelsDerivation(Derivation[SharedChannelOptions]):
    """Derivation of ``shared_channels`` and ``top_channel_popularity``, site by site."""

    TOP_SETS = "shared_k"

    def begin(self) -> None:
        """Prepare the rows of both tables."""
        self._rows: dict[str, list[dict[str, Any]]] = {
            SHARED_CHANNELS_TABLE.name: [],
            TOP_CHANNEL_POPULARITY_TABLE.name: [],
        }

    def add_site(self, site: SiteResults) -> None:
        """Count what the classes share at a site."""
        self._rows[SHARED_CHANNELS_TABLE.name] += shared_channel_rows(site.rankings, self.options.shared_k)
        self._rows[TOP_CHANNEL_POPULARITY_TABLE.name] += popularity_rows(site.rankings)

    def files(self) -> list[PublishedFile]:
        """Write both tables."""
        tables = {name: rows_of(name, rows) for name, rows in self._rows.items() if rows}
        return list(publish(self.manifest.storage, "all", tables, self.audit))


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
