"""Overlap of top channels expected between two audits of one checkpoint, given the noise of the ranked values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.overlap import TopSets, top_channels
from cawa_core.tables import Manifest
from workflows.analyses.awareness.sites import SiteAwareness, numbers, read_site
from workflows.analyses.masking import MASKING_TABLE

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

PAIRS = 20
"""Pairs of draws per audit; an overlap below all 40 of both audits has p = 1/41 under noise alone."""


@dataclasses.dataclass(frozen=True)
class NoisyValues:
    """Values that rank the channels of a site, with their noise.

    Attributes:
        class_ids: classes, ascending ``[n]``.
        values, stderr: value and standard error of each channel group ``[n, G]``; NaN if there is no such group or
            the error is unknown.
        group: group of each channel ``[n, C]``; -1: not ranked.
    """

    class_ids: Ids
    values: Array
    stderr: Array
    group: Ids

    def of(self, class_ids: Ids) -> NoisyValues:
        """Select some of the classes."""
        rows = np.searchsorted(self.class_ids, class_ids)
        return NoisyValues(class_ids, self.values[rows], self.stderr[rows], self.group[rows])


def masking_values(manifest: Manifest, site: int, awareness: SiteAwareness) -> NoisyValues:
    """Read ``score_change_abs`` of each group at a site; all channels of a group share its value and noise."""
    columns = ["class_id", "group", "channels", "score_change_abs", "score_change_abs_stderr"]
    rows = manifest.rows(MASKING_TABLE.name, columns, sites=[site])
    class_id, group = (numbers(rows[name]).astype(np.int64) for name in ("class_id", "group"))
    known = np.isin(class_id, awareness.class_ids)
    place = np.searchsorted(awareness.class_ids, class_id)
    shape = len(awareness.class_ids), int(group.max(initial=-1)) + 1
    values = np.full(shape, np.nan)
    stderr = np.full(shape, np.nan)
    for matrix, name in ((values, columns[3]), (stderr, columns[4])):
        matrix[place[known], group[known]] = numbers(rows[name])[known]
    lists = rows["channels"].combine_chunks()
    owner = np.repeat(np.arange(len(rows)), lists.value_lengths().to_numpy())
    channel = lists.flatten().to_numpy()
    inside = known[owner] & (channel < awareness.known.shape[1])
    owner, channel = owner[inside], channel[inside]
    group_of_channel = np.full(awareness.known.shape, -1)
    group_of_channel[place[owner], channel] = group[owner]
    group_of_channel[awareness.inert | ~awareness.known] = -1
    return NoisyValues(awareness.class_ids, values, stderr, group_of_channel)


def sampled_awareness(manifest: Manifest, site: int) -> NoisyValues:
    """Read the sampled category awareness of each channel of a site without a closed form."""
    names = "category_awareness", "category_awareness_stderr"
    rows = read_site(manifest, site, [*names, "inert"])
    values, stderr = (rows.best(name).astype(np.float64) for name in names)
    channels = np.broadcast_to(np.arange(rows.n_channels), values.shape)
    return NoisyValues(rows.class_ids, values, stderr, np.where(rows.known & (rows.best("inert") != 1), channels, -1))


def overlaps_by_noise(noisy: NoisyValues, sizes: Sequence[int], random: np.random.Generator) -> Array:
    """Simulate overlaps of the top sets of two audits that differ only by noise: ``[PAIRS, n, len(sizes)]``.

    This is a parametric bootstrap. The measured values already contain noise, so they are first shrunk towards their
    mean until draws around them spread as the values do. Groups are drawn independently of each other.

    Args:
        sizes: each at most the number of ranked channels.

    Returns:
        NaN for classes with an unknown standard error.
    """
    errors = np.nan_to_num(noisy.stderr)
    truth = _without_noise(noisy.values, noisy.stderr)

    def draw_top_sets() -> TopSets:
        values = truth + errors * random.standard_normal(truth.shape)
        return top_channels(_channel_values(values, noisy.group), max(sizes))

    simulated = np.full((PAIRS, len(truth), len(sizes)), np.nan)
    for pair in range(PAIRS):
        first = draw_top_sets()
        second = draw_top_sets()
        simulated[pair] = np.stack([overlaps(first[:, :k], second[:, :k]) for k in sizes], axis=1)
    simulated[:, (np.isnan(noisy.stderr) & np.isfinite(noisy.values)).any(axis=1)] = np.nan
    return simulated


def _without_noise(values: Array, stderr: Array) -> Array:
    noise = np.nanmean(np.square(stderr), axis=1, keepdims=True) if stderr.size else np.zeros((len(values), 1))
    mean = np.nanmean(values, axis=1, keepdims=True)
    spread = np.nanvar(values, axis=1, keepdims=True)
    signal_share = np.clip(1 - np.divide(noise, spread, out=np.ones_like(spread), where=spread > 0), 0, 1)
    return np.asarray(mean + np.sqrt(np.nan_to_num(signal_share)) * (values - mean))


def _channel_values(values: Array, group: Ids) -> Array:
    return np.where(group >= 0, np.take_along_axis(values, np.maximum(group, 0), axis=1), np.nan)


def overlaps(first: TopSets, second: TopSets) -> Array:
    """Return ``|S ∩ S'| / k`` of the sets in each row: ``[n_classes, k]`` twice => ``[n_classes]``."""
    width = int(max(first.max(initial=0), second.max(initial=0))) + 1
    row = width * np.arange(len(first))[:, None]
    return np.asarray(np.isin(first + row, second + row).mean(axis=1), dtype=np.float64)
