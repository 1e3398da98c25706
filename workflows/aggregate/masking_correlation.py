"""Rows of ``masking_correlation``: correlation of every predictor with every effect, per class and site."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.masking_correlation import masking_correlations
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.table_schema import TABLES
from workflows.aggregate.site_values import TARGETS, Ids, Known, Matrix, SiteMasking
from workflows.spec import AuditSpec

PREDICTORS = (
    "category_awareness",
    "category_awareness_sampled",
    "activation_probability",
    "expected_activation",
    "screening",
)
SCREENING = {target: f"screened_score_change{'_abs' if target.endswith('_abs') else ''}" for target in TARGETS}
"""First-order estimate of each effect, which the predictor ``screening`` uses."""

Columns = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A predictor, an effect, and where both are known ``[n_classes, groups]``."""

    predictor: str
    source: str
    target: str
    known: Known


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
    names = TABLES["masking_correlation"].schema.names
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.array([]) for name in names}


def _pairs(masking: SiteMasking) -> Iterator[Pair]:
    sources: Mapping[str, Matrix] = {**masking.predictors, **masking.effects}
    for target in TARGETS:
        for predictor in PREDICTORS:
            source = SCREENING[target] if predictor == "screening" else predictor
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
