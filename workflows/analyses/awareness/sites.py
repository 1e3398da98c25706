"""Awareness at one site, as matrices over classes and channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cawa_core.tables import Manifest
from workflows.analyses.awareness import AWARENESS_TABLE

Matrix = NDArray[np.float32]
Known = NDArray[np.bool_]
Ids = NDArray[np.int64]

ESTIMATES = ("category_awareness", "latent_awareness_robust", "activation_probability", "expected_activation")


@dataclasses.dataclass(frozen=True)
class EstimatorRows:
    """Rows of one estimator at one site.

    Attributes:
        known: whether there is a row ``[n_classes, C]``.
        columns: values by column ``[n_classes, C]``, float32; NaN where there is no row, or a null.
    """

    known: Known
    columns: Mapping[str, Matrix]


@dataclasses.dataclass(frozen=True)
class SiteRows:
    """Rows of ``awareness`` at one site, by estimator; an estimator without rows is left out."""

    class_ids: Ids
    n_channels: int
    by_estimator: Mapping[str, EstimatorRows]

    @property
    def closed_form(self) -> EstimatorRows | None:
        """Closed-form rows, if any."""
        return self.by_estimator.get("closed_form")

    @property
    def sampled(self) -> EstimatorRows | None:
        """Monte Carlo rows, if any."""
        return self.by_estimator.get("monte_carlo")

    def best(self, column: str) -> Matrix:
        """Return the closed-form value where there is one, else the sampled value."""
        exact, sampled = self.closed_form, self.sampled
        if exact is None or sampled is None:
            only = exact or sampled
            return only.columns[column] if only else np.zeros((0, 0), np.float32)
        return np.where(exact.known, exact.columns[column], sampled.columns[column])

    @property
    def known(self) -> Known:
        """Whether any estimator has a row ``[n_classes, C]``."""
        known: Known = np.logical_or.reduce([rows.known for rows in self.by_estimator.values()])
        return known


def read_site(manifest: Manifest, site: int, columns: Sequence[str]) -> SiteRows:
    """Read columns of ``awareness`` at one site; ``inert`` becomes 1 and 0."""
    keys = ["class_id", "channel", "estimator"]
    rows = manifest.rows(AWARENESS_TABLE.name, [*keys, *columns], sites=[site], text_as_codes=["estimator"])
    class_ids, place = np.unique(numbers(rows["class_id"]), return_inverse=True)
    channel = numbers(rows["channel"])
    shape = len(class_ids), int(channel.max(initial=-1)) + 1
    flat = place * shape[1] + channel
    if not len(rows):
        return SiteRows(class_ids.astype(np.int64), shape[1], {})
    codes = pa.chunked_array(rows["estimator"]).unify_dictionaries().combine_chunks()
    by_estimator = {}
    for code, estimator in enumerate(codes.dictionary.to_pylist()):
        mask = codes.indices.to_numpy() == code
        if mask.any():
            by_estimator[estimator] = _estimator_rows(rows, columns, flat, None if mask.all() else mask, shape)
    return SiteRows(class_ids.astype(np.int64), shape[1], by_estimator)


def _estimator_rows(
    rows: pa.Table, columns: Sequence[str], flat: Ids, mask: Known | None, shape: tuple[int, int]
) -> EstimatorRows:
    places = flat if mask is None else flat[mask]
    in_order = len(places) == shape[0] * shape[1] and bool((places == np.arange(len(places))).all())

    def as_matrix(values: Matrix) -> Matrix:
        selected = values if mask is None else values[mask]
        if in_order:
            return selected.reshape(shape)
        matrix = np.full(shape, np.nan, np.float32)
        matrix.reshape(-1)[places] = selected
        return matrix

    known = np.ones(len(rows), np.float32)
    return EstimatorRows(as_matrix(known) == 1, {name: as_matrix(numbers(rows[name])) for name in columns})


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column as numbers; booleans become float32, null becomes NaN."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8()).cast(pa.float32())
    values: NDArray[Any] = column.to_numpy()
    return values


def every_row_sampled(manifest: Manifest, sites: Sequence[int]) -> bool:
    """Return whether each class and channel has a Monte Carlo row at every site; stops at the first gap."""
    for site in sites:
        rows = read_site(manifest, site, [])
        if rows.sampled is None or not (rows.sampled.known == rows.known).all():
            return False
    return True


@dataclasses.dataclass(frozen=True)
class SiteAwareness:
    """Awareness of each class and channel at one site: ``[n_classes, C]``, NaN where unknown.

    Attributes:
        known: whether there is a row.
        inert: channels that cannot reach the image.
        latent_ranking: values that ``latent_highest`` ranks by.
        predictors: predictors by their name in ``masking_correlation``.
    """

    class_ids: Ids
    known: Known
    inert: Known
    latent_ranking: Matrix
    predictors: Mapping[str, Matrix]


def site_awareness(manifest: Manifest, site: int, all_sampled: bool) -> SiteAwareness:
    """Read the awareness of a site: the closed form where there is one, and sampled values.

    Args:
        all_sampled: result of :func:`every_row_sampled`. If true, the latent ranking uses the sampled latent awareness,
            else the robust one, so that a criterion means the same for every class.
    """
    rows = read_site(manifest, site, [*ESTIMATES, "latent_awareness", "inert"])
    predictors = {name: rows.best(name) for name in ESTIMATES if name != "latent_awareness_robust"}
    sampled = rows.sampled
    if sampled is not None:
        predictors["category_awareness_sampled"] = sampled.columns["category_awareness"]
    ranking = sampled.columns["latent_awareness"] if all_sampled and sampled else rows.best("latent_awareness_robust")
    return SiteAwareness(rows.class_ids, rows.known, rows.best("inert") == 1, ranking, predictors)
