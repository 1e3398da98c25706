"""How many of their top channels two audits of one checkpoint would have in common, given the noise of the values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.overlap import TopSets, top_channels
from cawa_core.tables import Manifest
from workflows.aggregate.site_values import SiteAwareness, numbers, read_site

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

PAIRS = 20
"""Pairs of draws an audit: with both, a set of fewer in common than any of 40 has p = 1/41 by noise alone."""


@dataclasses.dataclass(frozen=True)
class NoisyValues:
    """What ranks the channels of a site, with its noise.

    Attributes:
        class_ids: ascending ``[n]``.
        values, stderr: of each group of channels ``[n, G]``; NaN where there is no such group, or the error is unknown.
        group: of each channel ``[n, C]``; -1: not ranked.
    """

    class_ids: Ids
    values: Array
    stderr: Array
    group: Ids

    def of(self, class_ids: Ids) -> NoisyValues:
        """Some of its classes."""
        rows = np.searchsorted(self.class_ids, class_ids)
        return NoisyValues(class_ids, self.values[rows], self.stderr[rows], self.group[rows])


def masking_values(manifest: Manifest, site: int, awareness: SiteAwareness) -> NoisyValues:
    """``score_change_abs`` of each group at a site; all channels of a group share its value and its noise."""
    columns = ["class_id", "group", "channels", "score_change_abs", "score_change_abs_stderr"]
    rows = manifest.rows("masking", columns, sites=[site])
    class_id, group = (numbers(rows[name]).astype(np.int64) for name in ("class_id", "group"))
    known = np.isin(class_id, awareness.class_ids)
    place = np.searchsorted(awareness.class_ids, class_id)
    shape = len(awareness.class_ids), int(group.max(initial=-1)) + 1
    values, stderr = np.full(shape, np.nan), np.full(shape, np.nan)
    for matrix, name in ((values, columns[3]), (stderr, columns[4])):
        matrix[place[known], group[known]] = numbers(rows[name])[known]
    lists = rows["channels"].combine_chunks()
    owner, channel = np.repeat(np.arange(len(rows)), lists.value_lengths().to_numpy()), lists.flatten().to_numpy()
    inside = known[owner] & (channel < awareness.known.shape[1])
    owner, channel = owner[inside], channel[inside]
    of_channel = np.full(awareness.known.shape, -1)
    of_channel[place[owner], channel] = group[owner]
    of_channel[awareness.inert | ~awareness.known] = -1
    return NoisyValues(awareness.class_ids, values, stderr, of_channel)


def sampled_awareness(manifest: Manifest, site: int) -> NoisyValues:
    """Sampled category awareness of each channel of a site that has no closed form."""
    names = "category_awareness", "category_awareness_stderr"
    rows = read_site(manifest, site, [*names, "inert"])
    values, stderr = (rows.best(name).astype(np.float64) for name in names)
    channels = np.broadcast_to(np.arange(rows.n_channels), values.shape)
    return NoisyValues(rows.class_ids, values, stderr, np.where(rows.known & (rows.best("inert") != 1), channels, -1))


def overlaps_by_noise(noisy: NoisyValues, sizes: Sequence[int], random: np.random.Generator) -> Array:
    """Overlaps of the top sets of two audits that differ by noise alone: ``[PAIRS, n, len(sizes)]``.

    A parametric resample: what stands for the truth are the values drawn together about their mean until draws of them
    spread as the values do, which have the noise in them already. Groups are drawn independently of each other.

    Args:
        sizes: each at most the number of ranked channels.

    Returns:
        NaN for classes of which a standard error is unknown.
    """
    errors, truth = np.nan_to_num(noisy.stderr), _without_noise(noisy.values, noisy.stderr)

    def drawn() -> TopSets:
        values = truth + errors * random.standard_normal(truth.shape)
        return top_channels(_of_channels(values, noisy.group), max(sizes))

    found = np.full((PAIRS, len(truth), len(sizes)), np.nan)
    for draw in range(PAIRS):
        one, other = drawn(), drawn()
        found[draw] = np.stack([overlaps(one[:, :k], other[:, :k]) for k in sizes], axis=1)
    found[:, (np.isnan(noisy.stderr) & np.isfinite(noisy.values)).any(axis=1)] = np.nan
    return found


def _without_noise(values: Array, stderr: Array) -> Array:
    noise = np.nanmean(np.square(stderr), axis=1, keepdims=True) if stderr.size else np.zeros((len(values), 1))
    mean, spread = (one(values, axis=1, keepdims=True) for one in (np.nanmean, np.nanvar))
    kept = np.clip(1 - np.divide(noise, spread, out=np.ones_like(spread), where=spread > 0), 0, 1)
    return np.asarray(mean + np.sqrt(np.nan_to_num(kept)) * (values - mean))


def _of_channels(values: Array, group: Ids) -> Array:
    return np.where(group >= 0, np.take_along_axis(values, np.maximum(group, 0), axis=1), np.nan)


def overlaps(one: TopSets, other: TopSets) -> Array:
    """``|S ∩ S'| / k`` of the sets in each row: ``[n_classes, k]`` twice => ``[n_classes]``."""
    width = int(max(one.max(initial=0), other.max(initial=0))) + 1
    row = width * np.arange(len(one))[:, None]
    return np.asarray(np.isin(one + row, other + row).mean(axis=1), dtype=np.float64)
