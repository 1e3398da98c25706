"""Mask all channels of the bundled generator exactly: the reference for screening and sampling."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from benchmarks.masking import BATCH, bundled
from benchmarks.results import seconds_of
from cawa_core.masking.effects import changes
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.screening import Screening, screened
from cawa_core.numerics.batch_size import BatchSize

CLASSES = (0, 3, 6, 9)
LATENTS = 64
SCREENED = 1000

Changes = dict[str, NDArray[np.float64]]


@dataclasses.dataclass(frozen=True)
class ClassMasks:
    """Effects of masking each channel for one class, exact and screened.

    Attributes:
        exact: exact effects of each site, ``[C, LATENTS]`` each.
        by_gradient: effects estimated by screening, ``[C, SCREENED]`` each.
        exact_seconds, screening_seconds: time of all channels of all sites for one latent.
    """

    exact: tuple[Changes, ...]
    by_gradient: tuple[Changes, ...]
    exact_seconds: float
    screening_seconds: float


@functools.cache
def class_masks(class_id: int) -> ClassMasks:
    """Mask and screen one class; repeated calls return the same result."""
    generator, evaluator = bundled()
    z = generator.sample_latents(0, class_id, range(SCREENED))
    engine = MaskingEngine(generator, evaluator, BatchSize(BATCH))
    exact: list[Changes] = []
    screenings: list[Screening] = []
    screened(generator, evaluator, z[:BATCH], class_id, BATCH)  # the first backward pass is slow
    screening_seconds = seconds_of(lambda: screenings.append(screened(generator, evaluator, z, class_id, BATCH)))

    def mask_all() -> None:
        for site in generator.sites:
            masks = [(channel,) for channel in range(site.channels)]
            exact.append(changes(*engine.site_log_scores(z[:LATENTS], class_id, site.index, masks)))

    exact_seconds = seconds_of(mask_all)
    screening = screenings[0]
    by_gradient = tuple(
        changes(
            screening.unmasked.numpy(),
            screening.log_scores(site.index, [(channel,) for channel in range(site.channels)]).numpy(),
        )
        for site in generator.sites
    )
    return ClassMasks(tuple(exact), by_gradient, exact_seconds / LATENTS, screening_seconds / SCREENED)
