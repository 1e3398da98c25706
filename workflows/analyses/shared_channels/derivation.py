"""Derivation of ``shared_channels`` (Table 1) and ``top_channel_popularity``, which generalises Appendix C to all k."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.overlap import class_counts, classes_of_share, shared_by_chance
from cawa_core.tables import PublishedFile, publish, rows_of
from workflows.analyses.shared_channels import (
    SHARED_CHANNELS_TABLE,
    TOP_CHANNEL_POPULARITY_TABLE,
    SharedChannelOptions,
)
from workflows.interface import Derivation
from workflows.results.rankings import Ranking
from workflows.results.sites import SiteResults

SHARES = {"shared": 1.0, "in_nine_tenths": 0.9, "in_half": 0.5}
"""Columns that count channels => share of the classes that have them in their top sets."""

Columns = dict[str, NDArray[Any]]


class SharedChannelsDerivation(Derivation[SharedChannelOptions]):
    """Derivation of ``shared_channels`` and ``top_channel_popularity``, site by site."""

    TOP_SETS = "shared_k"

    def begin(self) -> None:
        """Prepare the rows of both tables."""
        self._shared: list[dict[str, Any]] = []
        self._popularity: list[Columns] = []

    def add_site(self, site: SiteResults) -> None:
        """Count in the top sets of how many classes the channels of a site are."""
        self._shared += shared_channel_rows(site.rankings, self.options.shared_k)
        self._popularity += popularity_columns(site.rankings, self.options.shared_k)

    def files(self) -> list[PublishedFile]:
        """Write both tables."""
        tables = {}
        if self._shared:
            tables[SHARED_CHANNELS_TABLE.name] = rows_of(SHARED_CHANNELS_TABLE.name, self._shared)
        if self._popularity:
            names = TOP_CHANNEL_POPULARITY_TABLE.columns
            parts = self._popularity
            columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
            tables[TOP_CHANNEL_POPULARITY_TABLE.name] = columns
        return list(publish(self.manifest.storage, "all", tables, self.audit))


def shared_channel_rows(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the number of channels in the top sets of all, and of most classes, by size of the sets."""
    set_sizes = list(sizes)
    for ranking in rankings:
        n_classes = len(ranking.class_ids)
        for k in set_sizes:
            if k <= ranking.n_channels and n_classes:
                _, counts = class_counts(ranking.top[:, :k])
                row: dict[str, Any] = {"site": ranking.site, "k": k, "criterion": ranking.criterion}
                for name, share in SHARES.items():
                    fewest = classes_of_share(share, n_classes)
                    row[name] = int((counts >= fewest).sum())
                    row[f"{name}_by_chance"] = shared_by_chance(ranking.n_channels, k, n_classes, fewest)
                yield row | {"n_channels": ranking.n_channels, "n_classes": n_classes}


def popularity_columns(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[Columns]:
    """Yield, for each ranking and size, the channels in any class's top set, and in how many they are."""
    set_sizes = sorted({1, *sizes})
    for ranking in rankings:
        for k in set_sizes:
            if k <= ranking.n_channels and len(ranking.class_ids):
                channels, counts = class_counts(ranking.top[:, :k])
                constants = {"site": ranking.site, "k": k, "criterion": ranking.criterion}
                columns: Columns = {name: np.full(len(channels), value) for name, value in constants.items()}
                yield columns | {"channel": channels, "n_classes": counts}
