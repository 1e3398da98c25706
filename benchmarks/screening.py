"""Screening against exact masks: how much cheaper, and how alike the rankings of the channels are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.exact_masks import CLASSES, LATENTS, ClassMasks, class_masks
from benchmarks.results import Result
from cawa_core.statistics.correlation import spearman

LEAST = {"score_change": 0.80, "score_change_abs": 0.90}
"""Rank correlation that screening must have with exact masks at each site, in the mean over classes."""


def run() -> Iterator[Result]:
    """All channels of the bundled generator, on the same latents."""
    each = [class_masks(class_id) for class_id in CLASSES]
    agreement = {name: np.mean([rank_agreement(one, name) for one in each], axis=0) for name in LEAST}
    by_site = {
        f"rank r of {name}, site {site}": float(r) for name, rs in agreement.items() for site, r in enumerate(rs)
    }
    short = {f"1 - least rank r of {name}": (1 - float(rs.min()), 1 - LEAST[name]) for name, rs in agreement.items()}
    yield Result(
        f"screening all channels and sites, bundled generator, {len(CLASSES)} classes, {LATENTS} latents",
        "exact masks by the engine",
        tuple(one.exact_seconds / one.screening_seconds for one in each),
        at_least=50,
        facts=by_site,
        bounds=short,
    )


def rank_agreement(masks: ClassMasks, effect: str) -> list[float]:
    """Spearman over the channels of each site."""
    return [
        spearman(cheap[effect][:, :LATENTS].mean(axis=1), exact[effect].mean(axis=1))
        for cheap, exact in zip(masks.by_gradient, masks.exact, strict=True)
    ]
