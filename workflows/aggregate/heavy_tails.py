"""The ``heavy_tails`` section of the summary, computed site by site."""

from __future__ import annotations

from typing import Any

import numpy as np

from cawa_core.tables import Manifest
from workflows.aggregate.site_values import Matrix, SiteRows, read_site

LARGE_SIGN_PROBABILITY = 1e-3
"""Probability of the rarer sign of a gain above which sampled means of β/γ are unreliable."""
LIGHT_TAIL = 1e-6
"""Probability of the rarer sign below which no sample in ten thousand comes near a zero gain."""
COLUMNS = ("category_awareness", "category_awareness_stderr", "gain_sign_probability")
GAPS = ("light_tails_largest_in_stderr", "light_tails_largest", "heavy_tails_largest")


def heavy_tails(manifest: Manifest) -> dict[str, Any] | None:
    """Summarise where gains change sign, and how far the two estimators differ there and elsewhere."""
    counts = {}
    large = {}
    largest = []
    gaps = []
    for site in manifest.sites("awareness"):
        rows = read_site(manifest, site, COLUMNS)
        crossing = _rarer_sign_probability(rows.best("gain_sign_probability"))[rows.known]
        counts[site] = crossing.size
        large[site] = int((crossing > LARGE_SIGN_PROBABILITY).sum())
        largest.append(_largest(crossing))
        gaps += _gaps(rows)
    if not counts:
        return None
    return {
        "n_channels_and_classes": sum(counts.values()),
        "share_of_large_sign_probability": sum(large.values()) / sum(counts.values()),
        "largest_sign_probability": _largest(np.array(largest)),
        "heavy_tail": LARGE_SIGN_PROBABILITY,
        "light_tail": LIGHT_TAIL,
        "by_site": {site: large[site] / counts[site] for site in counts},
        "estimator_gap": {name: _largest_known([gap[name] for gap in gaps]) for name in GAPS} if gaps else None,
    }


def _rarer_sign_probability(gain_sign_probability: Matrix) -> Matrix:
    return np.minimum(gain_sign_probability, 1 - gain_sign_probability)


def _gaps(rows: SiteRows) -> list[dict[str, float | None]]:
    """Return the largest gaps between sampled and closed-form category awareness; empty without both."""
    exact, sampled = rows.closed_form, rows.sampled
    if exact is None or sampled is None:
        return []
    both = exact.known & sampled.known
    gap = np.abs(sampled.columns["category_awareness"] - exact.columns["category_awareness"])[both]
    crossing = _rarer_sign_probability(exact.columns["gain_sign_probability"])[both]
    light = crossing < LIGHT_TAIL
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = gap / sampled.columns["category_awareness_stderr"][both]
    values = errors[light], gap[light], gap[crossing > LARGE_SIGN_PROBABILITY]
    return [dict(zip(GAPS, map(_largest, values), strict=True))]


def _largest(values: Matrix) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else None


def _largest_known(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
