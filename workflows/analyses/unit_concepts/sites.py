"""Interpretable units of a site and what they draw, counted with intervals over classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.dissection.counts import intersection_over_union
from cawa_core.statistics.intervals import Interval, percentile_interval
from workflows.analyses.unit_concepts import FEWEST_OVERLAP, LEVEL

OVERLAP = ("on", "present", "both")
"""Counts that give the IoU."""
MOST_VALUES = 2**22
"""Resampled counts that are held at once, 32 MB."""

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Row = dict[str, Any]


def site_counts(by_class: pd.DataFrame, units: pd.DataFrame, draws: Array) -> tuple[Row, list[Row]]:
    """Count the interpretable units of a site, in all and of each concept.

    Resampled classes change the IoU and the best concept of each unit; which overlaps are beyond chance is taken from
    the test over all classes.

    Args:
        by_class: rows of ``dissection`` of the site.
        units: rows of ``unit_concepts`` of the site.
        draws: how often each resample draws each class ``[resamples, classes]``.

    Returns:
        The site's row of ``site_units`` and its rows of ``site_concepts``, without the site.
    """
    units = units.sort_values(["channel", "concept"])
    concepts = sorted(units.concept.unique())
    shape = (-1, len(concepts))
    ordered = by_class.sort_values(["class_id", "channel", "concept"])
    overlap = {name: ordered[name].to_numpy(np.float64).reshape(draws.shape[1], *shape) for name in OVERLAP}
    beyond_chance = (units.q_value <= LEVEL).to_numpy().reshape(shape)
    anything = np.ones_like(beyond_chance)

    observed = np.ones((1, draws.shape[1]))
    interpretable = units_by_concept(overlap, beyond_chance, observed)[0]
    published = units_by_concept(overlap, anything, observed)[0]
    drawn = draws if draws.shape[1] > 1 else draws[:0]
    drawn_interpretable = units_by_concept(overlap, beyond_chance, drawn)
    drawn_published = units_by_concept(overlap, anything, drawn)
    of_site = {
        "units": len(beyond_chance),
        **_with_interval("interpretable", interpretable.sum(), drawn_interpretable.sum(axis=1)),
        **_with_interval("by_published_rule", published.sum(), drawn_published.sum(axis=1)),
        **_with_interval("detected", (interpretable > 0).sum(), (drawn_interpretable > 0).sum(axis=1)),
    }
    return of_site, [
        {"concept": concept, **_with_interval("units", interpretable[place], drawn_interpretable[:, place])}
        for place, concept in enumerate(concepts)
    ]


def units_by_concept(overlap: Mapping[str, Array], counted: Flags, draws: Array) -> NDArray[np.int64]:
    """Count the units whose best IoU, with counts summed over drawn classes, is above 0.05 and counted.

    Args:
        overlap: counts by name ``[classes, units, concepts]``.
        counted: which units and concepts are counted ``[units, concepts]``.
        draws: how often each class is drawn ``[resamples, classes]``.

    Returns:
        Number of units ``[resamples, concepts]``, each with the concept of its highest IoU.
    """
    n_units, n_concepts = counted.shape
    numbers = np.zeros((len(draws), n_concepts), np.int64)
    at_once = max(1, MOST_VALUES // max(1, len(draws) * n_concepts))
    for first in range(0, n_units, at_once):
        units = slice(first, first + at_once)
        on, present, both = (np.tensordot(draws, overlap[name][:, units], axes=1) for name in OVERLAP)
        iou = np.nan_to_num(intersection_over_union(on, present, both), nan=-1.0)
        best = iou.argmax(axis=2)
        holds = (np.take_along_axis(iou, best[:, :, None], axis=2)[:, :, 0] > FEWEST_OVERLAP) & counted[
            np.arange(len(counted))[units], best
        ]
        for concept in range(n_concepts):
            numbers[:, concept] += (holds & (best == concept)).sum(axis=1)
    return numbers


def _with_interval(name: str, number: np.integer, resampled: NDArray[np.int64]) -> Row:
    """Return a count and the ends of its interval as columns."""
    interval = percentile_interval(resampled.astype(np.float64)) if len(resampled) else Interval(np.nan, np.nan)
    return {name: int(number), f"{name}_low": interval.low, f"{name}_high": interval.high}
