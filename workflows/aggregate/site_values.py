"""Rows of one site as matrices over classes and channels, or over classes and groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cawa_core.tables import Manifest

Matrix = NDArray[np.float32]
Known = NDArray[np.bool_]
Ids = NDArray[np.int64]

TARGETS = ("score_change", "score_change_abs", "log_score_change", "log_score_change_abs")
SCREENED = ("screened_score_change", "screened_score_change_abs")
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
    rows = manifest.rows("awareness", [*keys, *columns], sites=[site], text_as_codes=["estimator"])
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


@dataclasses.dataclass(frozen=True)
class SiteMasking:
    """Masking effects at one site, for the classes with awareness there.

    Attributes:
        effects: columns of ``masking``, screened ones included; ``[n_classes, groups]``, NaN where unknown. Screened
            effects are used only where the method is exact, because elsewhere they enter the effect they predict.
        predictors: means over the channels of each group, by name; same shape.
        by_channel: ``score_change_abs`` of the group of each channel ``[n_classes, C]``.
    """

    effects: Mapping[str, Matrix]
    predictors: Mapping[str, Matrix]
    by_channel: Matrix


def site_masking(manifest: Manifest, site: int, awareness: SiteAwareness) -> SiteMasking:
    """Read the masking of a site, leaving out groups without a channel of known awareness."""
    columns = ["class_id", "group", "channels", "method", *TARGETS, *SCREENED]
    rows = manifest.rows("masking", columns, sites=[site])
    n_classes, n_channels = awareness.known.shape
    place = _places(awareness.class_ids, numbers(rows["class_id"]))
    groups = numbers(rows["group"])
    lists = rows["channels"].combine_chunks()
    owner = np.repeat(np.arange(len(rows)), lists.value_lengths().to_numpy())
    member = lists.flatten().to_numpy()
    inside = (place[owner] >= 0) & (member < n_channels)
    owner, member = owner[inside], member[inside]
    cell = place[owner] * n_channels + member
    known = awareness.known.reshape(-1)[cell]
    owner, cell = owner[known], cell[known]
    used = np.bincount(owner, minlength=len(rows)) > 0
    shape = n_classes, int(groups.max(initial=-1)) + 1
    flat = place[used] * shape[1] + groups[used]

    def by_group(values: NDArray[np.floating]) -> Matrix:
        matrix = np.full(shape, np.nan, np.float32)
        matrix.reshape(-1)[flat] = values[used]
        return matrix

    means = {
        name: _group_means(owner, values.reshape(-1)[cell], len(rows)) for name, values in awareness.predictors.items()
    }
    by_channel = np.full((n_classes, n_channels), np.nan, np.float32)
    by_channel.reshape(-1)[cell] = numbers(rows["score_change_abs"])[owner]
    exact = np.asarray(pc.equal(rows["method"], "exact"))
    effects = {name: by_group(numbers(rows[name])) for name in TARGETS}
    effects |= {name: by_group(np.where(exact, numbers(rows[name]), np.nan)) for name in SCREENED}
    return SiteMasking(effects, {name: by_group(values) for name, values in means.items()}, by_channel)


def _places(class_ids: Ids, queries: Ids) -> Ids:
    """Return the index of each queried class among the ascending ids; -1 if it is absent."""
    if not len(class_ids):
        return np.full(len(queries), -1)
    place = np.minimum(np.searchsorted(class_ids, queries), len(class_ids) - 1)
    return np.where(class_ids[place] == queries, place, -1)


def _group_means(owner: Ids, values: Matrix, n_groups: int) -> NDArray[np.float64]:
    """Return the mean of the known values of each group; NaN if there are none."""
    known = np.isfinite(values)
    if not known.all():
        owner, values = owner[known], values[known]
    counts = np.bincount(owner, minlength=n_groups)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.bincount(owner, weights=values, minlength=n_groups) / counts
    return means
