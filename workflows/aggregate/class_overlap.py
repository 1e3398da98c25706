"""Rows of ``class_overlap``: top channels that each pair of classes shares, one row group per (site, k, criterion)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cawa_core.statistics.overlap import overlap_counts
from cawa_core.table_schema import TABLES
from cawa_core.tables import Rows
from workflows.aggregate.rankings import LARGEST_OVERLAP_SHARE, Ranking

ENCODING = {"counting": ("class_a", "class_b"), "repeating": ("overlap",)}
"""Encodings of the columns, with which all pairs of 1,000 classes take about 200 kilobytes."""


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
    schema = TABLES["class_overlap"].schema
    columns = {name: pa.repeat(pa.scalar(value, schema.field(name).type), n) for name, value in values.items()}
    code = pa.repeat(pa.scalar(0, pa.int8()), n)
    return columns | {"criterion": pa.DictionaryArray.from_arrays(code, pa.array([ranking.criterion]))}
