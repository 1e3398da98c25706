"""Rows of ``class_overlap``: what each pair of classes has in common, a row group a (site, k, criterion)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from cawa_core.schemas import TABLES
from cawa_core.statistics.overlap import overlap_counts
from cawa_core.tables import Rows
from workflows.aggregate.rankings import LARGEST_OVERLAP_SHARE, Ranking

REPEATING = ("criterion", "overlap")
"""Columns of few values; the others stand still or count: all pairs of 1,000 classes take about 200 kilobytes."""


def class_overlap_groups(rankings: Iterable[Ranking], sizes: Sequence[int]) -> Iterator[Rows]:
    """All pairs of classes, in ascending order, for each ranking and size of the top sets."""
    for ranking in rankings:
        n_classes = len(ranking.class_ids)
        a, b = np.triu_indices(n_classes, 1)
        ids = ranking.class_ids.astype(np.int32)
        classes = {"class_a": pa.array(ids[a]), "class_b": pa.array(ids[b])}
        for k in sizes:
            if k <= math.floor(LARGEST_OVERLAP_SHARE * ranking.n_channels) and len(a):
                shares = (np.arange(k + 1) / k).astype(np.float32)
                yield {
                    **classes,
                    "overlap": shares[overlap_counts(ranking.top[:, :k])[a, b]],
                    **_constants(len(a), ranking, k),
                }


def _constants(n: int, ranking: Ranking, k: int) -> Rows:
    values = {
        "site": ranking.site,
        "k": k,
        "criterion": ranking.criterion,
        "overlap_by_chance": k / ranking.n_channels,
    }
    schema = TABLES["class_overlap"].schema
    return {name: pa.repeat(pa.scalar(value, schema.field(name).type), n) for name, value in values.items()}
