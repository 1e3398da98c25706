"""Derivation of ``masking_correlation``: correlation of every predictor with every effect, per class and site."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.masking_correlation import masking_correlations
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.tables import PublishedFile, publish
from workflows.analyses.awareness.sites import Ids, Known, Matrix
from workflows.analyses.masking.sites import TARGETS, SiteMasking
from workflows.analyses.masking_correlation import MASKING_CORRELATION_TABLE
from workflows.analyses.masking_correlation.predictors import PREDICTORS, source_of
from workflows.interface import Derivation, NoOptions
from workflows.options.audit import AuditSpec
from workflows.results.sites import SiteResults

Columns = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A predictor, an effect, and where both are known ``[n_classes, groups]``."""

    predictor: str
    source: str
    target: str
    known: Known


class MaskingCorrelationDerivation(Derivation[NoOptions]):
    """Derivation of ``masking_correlation``, site by site."""

    def begin(self) -> None:
        """Prepare the columns of all sites."""
        self._parts: list[Columns] = []

    def add_site(self, site: SiteResults) -> None:
        """Correlate predictors and effects at a site."""
        if site.masking is not None:
            columns = masking_correlation_columns(site.awareness.class_ids, site.site, site.masking, self.spec)
            if len(columns["class_id"]):
                self._parts.append(columns)

    def files(self) -> list[PublishedFile]:
        """Write the correlations of all sites."""
        if not self._parts:
            return []
        names = MASKING_CORRELATION_TABLE.columns
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in names}
        return list(publish(self.manifest.storage, "all", {MASKING_CORRELATION_TABLE.name: columns}, self.audit))


def masking_correlation_columns(class_ids: Ids, site: int, masking: SiteMasking, spec: AuditSpec) -> Columns:
    """Compute all rows of one site, as columns.

    The permutations of n groups at a site depend on (seed, site, n) only, so they are the same for every class,
    predictor and effect.
    """

    @cache
    def orders(n: int) -> NDArray[np.int64]:
        return random_orders(n, spec.permutations, random_generator(spec.seed, SHARED_CLASS, site, f"permute {n}"))

    parts = [
        _columns(class_ids[rows], site, pair, {name: values[index] for name, values in correlations.items()})
        for pairs in _group_by_known(_pairs(masking))
        for rows, correlations_of_pairs in _by_count(masking, pairs, orders)
        for pair, index, correlations in correlations_of_pairs
    ]
    names = MASKING_CORRELATION_TABLE.columns
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.array([]) for name in names}


def _pairs(masking: SiteMasking) -> Iterator[Pair]:
    sources: Mapping[str, Matrix] = {**masking.predictors, **masking.effects}
    for target in TARGETS:
        for predictor in PREDICTORS:
            source = source_of(predictor, target)
            if source in sources:
                known = np.isfinite(sources[source]) & np.isfinite(masking.effects[target])
                if known.any():
                    yield Pair(predictor, source, target, known)


def _group_by_known(pairs: Iterator[Pair]) -> list[list[Pair]]:
    """Group pairs that are known at the same places; they share their permuted changes."""
    groups: dict[bytes, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(np.packbits(pair.known).tobytes(), []).append(pair)
    return list(groups.values())


def _by_count(masking: SiteMasking, pairs: list[Pair], orders: Any) -> Iterator[tuple[Ids, Any]]:  # noqa: ANN401
    """Yield, for classes with equally many known groups, their rows and the correlations of each pair."""
    known = pairs[0].known
    values = {**masking.predictors, **masking.effects}
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    targets = list(dict.fromkeys(pair.target for pair in pairs))
    counts = known.sum(axis=1)
    for n in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == n)

        def dense(names: list[str], rows: Ids = rows, n: int = n) -> NDArray[np.float64]:
            matrices = [values[name][rows][known[rows]].reshape(len(rows), n) for name in names]
            return np.stack(matrices).astype(np.float64)

        correlations = vars(masking_correlations(dense(sources), dense(targets), orders(n)))
        places = [(sources.index(pair.source), targets.index(pair.target)) for pair in pairs]
        yield rows, [(pair, place, correlations) for pair, place in zip(pairs, places, strict=True)]


def _columns(class_ids: Ids, site: int, pair: Pair, values: Mapping[str, NDArray[Any]]) -> Columns:
    n = len(class_ids)
    constants = {"site": site, "predictor": pair.predictor, "target": pair.target}
    return {"class_id": class_ids, **{name: np.full(n, value) for name, value in constants.items()}, **values}
