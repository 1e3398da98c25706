"""Masking effects at one site, as matrices over classes and groups, or over classes and channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from cawa_core.tables import Manifest
from workflows.analyses.awareness.sites import Ids, Matrix, SiteAwareness, numbers
from workflows.analyses.masking import MASKING_TABLE

TARGETS = ("score_change", "score_change_abs", "log_score_change", "log_score_change_abs")
"""Effects of a mask: columns of ``masking``."""
TARGET_WORDS = {"score_change": "drop in score", "score_change_abs": "absolute change in score"}
"""The effects that the report shows."""
SCREENED = ("screened_score_change", "screened_score_change_abs")


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
    rows = manifest.rows(MASKING_TABLE.name, columns, sites=[site])
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
