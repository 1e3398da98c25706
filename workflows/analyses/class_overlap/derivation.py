"""Derivation of ``class_overlap``: top channels that each pair of classes shares, a row group per (site, k, criterion).

All pairs of many classes are a large table, so each site has a file, which is written while the next site is ranked.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cawa_core.statistics.overlap import overlap_counts
from cawa_core.tables import PublishedFile, Rows, publish_groups
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.class_overlap import CLASS_OVERLAP_TABLE, ClassOverlapOptions
from workflows.interface import Derivation
from workflows.results.rankings import LARGEST_OVERLAP_SHARE, Ranking
from workflows.results.sites import SiteResults

ENCODING = {"counting": ("class_a", "class_b"), "repeating": ("overlap",)}
"""Encodings of the columns, with which all pairs of 1,000 classes take about 200 kilobytes."""


class ClassOverlapDerivation(Derivation[ClassOverlapOptions]):
    """Derivation of ``class_overlap``, at each site and over the channels of all sites."""

    TOP_SETS = "overlap_k"

    def begin(self) -> None:
        """Prepare the ranking of the channels of all sites."""
        self._every_site = EverySite(max(self.options.overlap_k, default=0))
        self._pending: list[Future[list[PublishedFile]]] = []

    def add_site(self, site: SiteResults) -> None:
        """Write the overlaps of a site, and add its channels to the ranking of those of all sites."""
        self._every_site.add(site.rankings, site.awareness.known.shape[1])
        self._write(f"s{site.site:02d}", site.rankings)

    def files(self) -> list[PublishedFile]:
        """Write the overlaps over the channels of all sites, and return all files."""
        self._write("all", self._every_site.rankings())
        return [file for pending in self._pending for file in pending.result()]

    def _write(self, part: str, rankings: Sequence[Ranking]) -> None:
        groups = class_overlap_groups(rankings, self.options.overlap_k)
        self._pending.append(self.writer.submit(self._publish, part, groups))

    def _publish(self, part: str, groups: Iterator[Rows]) -> list[PublishedFile]:
        """Write one file with the overlaps of a site; no file if there are no pairs."""
        first = next(groups, None)
        if first is None:
            return []
        every_group = chain([first], groups)
        storage = self.manifest.storage
        return [publish_groups(storage, part, CLASS_OVERLAP_TABLE.name, every_group, self.audit, **ENCODING)]


def class_overlap_groups(rankings: Iterable[Ranking], sizes: Sequence[int]) -> Iterator[Rows]:
    """Yield the rows of all pairs of classes, in ascending order, for each ranking and size of the top sets."""
    for ranking in rankings:
        n_classes = len(ranking.class_ids)
        pairs = _pairs(n_classes)
        ids = ranking.class_ids.astype(np.int32)
        classes = {"class_a": pa.array(ids[pairs // n_classes]), "class_b": pa.array(ids[pairs % n_classes])}
        for k in sizes:
            if k <= math.floor(LARGEST_OVERLAP_SHARE * ranking.n_channels) and n_classes > 1:
                shares = (np.arange(k + 1) / k).astype(np.float32)
                yield {
                    **classes,
                    "overlap": shares[overlap_counts(ranking.top[:, :k]).reshape(-1)[pairs]],
                    **_constants(len(classes["class_a"]), ranking, k),
                }


@lru_cache(maxsize=2)
def _pairs(n_classes: int) -> NDArray[np.int64]:
    """Return the flat indices of the pairs (a, b), a < b, in a matrix ``[n_classes, n_classes]``."""
    return np.flatnonzero(np.triu(np.ones((n_classes, n_classes), np.bool_), 1))


def _constants(n: int, ranking: Ranking, k: int) -> Rows:
    values = {
        "site": ranking.site,
        "k": k,
        "overlap_by_chance": k / ranking.n_channels,
    }
    schema = CLASS_OVERLAP_TABLE.schema
    columns = {name: pa.repeat(pa.scalar(value, schema.field(name).type), n) for name, value in values.items()}
    code = pa.repeat(pa.scalar(0, pa.int8()), n)
    return columns | {"criterion": pa.DictionaryArray.from_arrays(code, pa.array([ranking.criterion]))}


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
