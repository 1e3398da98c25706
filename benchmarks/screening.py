"""Measure screening against exact masks: the time saved, and how well the rankings of the channels agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.exact_masks import CLASSES, LATENTS, ClassMasks, class_masks
from benchmarks.results import Result
from cawa_core.statistics.correlation import spearman

SMALLEST_CORRELATION = {"score_change": 0.80, "score_change_abs": 0.90}
"""Smallest allowed rank correlation of screening with exact masks at each site, as a mean over classes."""


def run() -> Iterator[Result]:
    """Compare both on all channels of the bundled generator and the same latents."""
    masks_by_class = [class_masks(class_id) for class_id in CLASSES]
    correlations = {
        name: np.mean([rank_correlations(masks, name) for masks in masks_by_class], axis=0)
        for name in SMALLEST_CORRELATION
    }
    correlation_by_site = {
        f"rank r of {name}, site {site}": float(correlation)
        for name, by_site in correlations.items()
        for site, correlation in enumerate(by_site)
    }
    shortfalls = {
        f"1 - least rank r of {name}": (1 - float(by_site.min()), 1 - SMALLEST_CORRELATION[name])
        for name, by_site in correlations.items()
    }
    yield Result(
        f"screening all channels and sites, bundled generator, {len(CLASSES)} classes, {LATENTS} latents",
        "exact masks by the engine",
        tuple(masks.exact_seconds / masks.screening_seconds for masks in masks_by_class),
        at_least=50,
        facts=correlation_by_site,
        bounds=shortfalls,
    )


def rank_correlations(masks: ClassMasks, effect: str) -> list[float]:
    """Compute Spearman's rank correlation over the channels of each site."""
    return [
        spearman(cheap[effect][:, :LATENTS].mean(axis=1), exact[effect].mean(axis=1))
        for cheap, exact in zip(masks.by_gradient, masks.exact, strict=True)
    ]
