"""The rows of one site as matrices of classes and channels, or of classes and groups."""

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
        known: where there is a row ``[n_classes, C]``.
        columns: values by column ``[n_classes, C]``, float32; NaN where there is no row, or a null.
    """

    known: Known
    columns: Mapping[str, Matrix]


@dataclasses.dataclass(frozen=True)
class SiteRows:
    """Rows of ``awareness`` at one site, by estimator; an estimator without any is left out."""

    class_ids: Ids
    n_channels: int
    by_estimator: Mapping[str, EstimatorRows]

    @property
    def closed_form(self) -> EstimatorRows | None:
        """Closed-form rows, where there are any."""
        return self.by_estimator.get("closed_form")

    @property
    def sampled(self) -> EstimatorRows | None:
        """Monte Carlo rows, where there are any."""
        return self.by_estimator.get("monte_carlo")

    def best(self, column: str) -> Matrix:
        """The closed form where there is a row of it, else the sampled value."""
        exact, sampled = self.closed_form, self.sampled
        if exact is None or sampled is None:
            only = exact or sampled
            return only.columns[column] if only else np.zeros((0, 0), np.float32)
        return np.where(exact.known, exact.columns[column], sampled.columns[column])

    @property
    def known(self) -> Known:
        """Where any estimator has a row ``[n_classes, C]``."""
        known: Known = np.logical_or.reduce([rows.known for rows in self.by_estimator.values()])
        return known


def read_site(manifest: Manifest, site: int, columns: Sequence[str]) -> SiteRows:
    """Some columns of ``awareness`` at one site; ``inert`` reads as 1 and 0."""
    keys = ["class_id", "channel", "estimator"]
    rows = manifest.rows("awareness", [*keys, *columns], sites=[site], text_as_codes=["estimator"])
    class_ids, place = np.unique(numbers(rows["class_id"]), return_inverse=True)
    channel = numbers(rows["channel"])
    shape = len(class_ids), int(channel.max(initial=-1)) + 1
    flat = place * shape[1] + channel
    if not len(rows):
        return SiteRows(class_ids.astype(np.int64), shape[1], {})
    codes, found = pa.chunked_array(rows["estimator"]).unify_dictionaries().combine_chunks(), {}
    for code, estimator in enumerate(codes.dictionary.to_pylist()):
        chosen = codes.indices.to_numpy() == code
        if chosen.any():
            found[estimator] = _of_estimator(rows, columns, flat, None if chosen.all() else chosen, shape)
    return SiteRows(class_ids.astype(np.int64), shape[1], found)


def _of_estimator(
    rows: pa.Table, columns: Sequence[str], flat: Ids, chosen: Known | None, shape: tuple[int, int]
) -> EstimatorRows:
    places = flat if chosen is None else flat[chosen]
    in_order = len(places) == shape[0] * shape[1] and bool((places == np.arange(len(places))).all())

    def matrix(values: Matrix) -> Matrix:
        own = values if chosen is None else values[chosen]
        if in_order:
            return own.reshape(shape)
        made = np.full(shape, np.nan, np.float32)
        made.reshape(-1)[places] = own
        return made

    known = np.ones(len(rows), np.float32)
    return EstimatorRows(matrix(known) == 1, {name: matrix(numbers(rows[name])) for name in columns})


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers; booleans as float32, null as NaN."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8()).cast(pa.float32())
    values: NDArray[Any] = column.to_numpy()
    return values


def every_row_sampled(manifest: Manifest, sites: Sequence[int]) -> bool:
    """Whether each class and channel has a Monte Carlo row at every site; looks no further than the first lack."""
    for site in sites:
        rows = read_site(manifest, site, [])
        if rows.sampled is None or not (rows.sampled.known == rows.known).all():
            return False
    return True


@dataclasses.dataclass(frozen=True)
class SiteAwareness:
    """What a site's awareness rows say of each class and channel: ``[n_classes, C]``, NaN where unknown.

    Attributes:
        known: where there is a row.
        inert: channels that cannot reach the image.
        latent_ranking: what ``latent_highest`` ranks.
        predictors: by the name they have in ``masking_correlation``.
    """

    class_ids: Ids
    known: Known
    inert: Known
    latent_ranking: Matrix
    predictors: Mapping[str, Matrix]


def site_awareness(manifest: Manifest, site: int, all_sampled: bool) -> SiteAwareness:
    """Closed form where there is one, sampled values beside it.

    Args:
        all_sampled: :func:`every_row_sampled`. The latent ranking then is the sampled latent awareness, else the
            robust one: one criterion means one thing for every class.
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
    """What masking did at a site, for the classes that awareness has there.

    Attributes:
        effects: by column of ``masking``, the screened ones among them; ``[n_classes, groups]``, NaN where unknown.
            Screened ones are known where the masks are exact: elsewhere they are part of what they would predict.
        predictors: means over each group's channels, by name; the same shape.
        by_channel: ``score_change_abs`` of the group that a channel is in ``[n_classes, C]``.
    """

    effects: Mapping[str, Matrix]
    predictors: Mapping[str, Matrix]
    by_channel: Matrix


def site_masking(manifest: Manifest, site: int, awareness: SiteAwareness) -> SiteMasking:
    """Groups without a channel that awareness knows are left out."""
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
    seen = awareness.known.reshape(-1)[cell]
    owner, cell = owner[seen], cell[seen]
    kept = np.bincount(owner, minlength=len(rows)) > 0
    shape = n_classes, int(groups.max(initial=-1)) + 1
    flat = place[kept] * shape[1] + groups[kept]

    def by_group(values: NDArray[np.floating]) -> Matrix:
        made = np.full(shape, np.nan, np.float32)
        made.reshape(-1)[flat] = values[kept]
        return made

    means = {
        name: _group_means(owner, values.reshape(-1)[cell], len(rows)) for name, values in awareness.predictors.items()
    }
    by_channel = np.full((n_classes, n_channels), np.nan, np.float32)
    by_channel.reshape(-1)[cell] = numbers(rows["score_change_abs"])[owner]
    exact = np.asarray(pc.equal(rows["method"], "exact"))
    effects = {name: by_group(numbers(rows[name])) for name in TARGETS}
    effects |= {name: by_group(np.where(exact, numbers(rows[name]), np.nan)) for name in SCREENED}
    return SiteMasking(effects, {name: by_group(values) for name, values in means.items()}, by_channel)


def _places(class_ids: Ids, wanted: Ids) -> Ids:
    """Where each class stands among the ascending ids; -1: nowhere."""
    if not len(class_ids):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(class_ids, wanted), len(class_ids) - 1)
    return np.where(class_ids[place] == wanted, place, -1)


def _group_means(owner: Ids, values: Matrix, n_groups: int) -> NDArray[np.float64]:
    """Mean of the known values of each group; NaN where none is."""
    known = np.isfinite(values)
    if not known.all():
        owner, values = owner[known], values[known]
    counts = np.bincount(owner, minlength=n_groups)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.bincount(owner, weights=values, minlength=n_groups) / counts
    return means
