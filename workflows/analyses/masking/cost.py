"""The cost of masking: how many masks there are, and the seconds that each takes."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workflows.analyses.masking import MaskingOptions
from workflows.analyses.masking.control_masks import masking_engine
from workflows.interface import Stopwatch
from workflows.lab import Lab

MASKS_TIMED, SITES_TIMED = 8, 3
"""Masks and sites that a plan times."""


def masks_of_site(lab: Lab, options: MaskingOptions, site: int) -> float:
    """Count the masked passes of single latents for one class at a site, controls included.

    A bfloat16 pass counts as half; with a target standard error, only the first latents of each mask count.
    """
    sites = lab.generator.sites
    groups = math.ceil(sites[site].channels / options.masking_group_size)
    if options.top:
        n_channels = sum(each.channels for each in sites)
        groups = min(groups, math.ceil(options.top * sites[site].channels / n_channels))
    latents = {"exact": options.masking_latents, "regression": options.exact_latents, "screening": 0}
    latents["two_precisions"] = options.exact_latents + options.masking_latents // 2
    if options.target_stderr:
        latents = dict.fromkeys(latents, options.exact_latents)
    return groups * latents[options.masking_estimator] + options.control_latents * (options.control_repeats + 3)


def screened_latents(options: MaskingOptions) -> int:
    """Count the latents per class whose gradient is taken."""
    return options.masking_latents if shares_screening(options) else 0


def shares_screening(options: MaskingOptions) -> bool:
    """Return whether all sites of a class share one screening, because repeating it per site costs too much."""
    return options.masking_estimator != "exact" or options.top > 0


def mask_seconds(
    lab: Lab, options: MaskingOptions, z: Tensor, class_id: int, seconds: Stopwatch
) -> NDArray[np.float64]:
    """Time one mask of one latent per site: measured at a few sites, interpolated linearly between them."""
    engine = masking_engine(lab)
    sites = lab.generator.sites
    timed = np.unique(np.linspace(0, len(sites) - 1, SITES_TIMED).astype(int)).tolist()
    rows = z[: max(1, min(len(z), options.exact_latents))]
    measured = []
    for site in timed:
        width = min(options.masking_group_size, sites[site].channels)
        masks = [tuple(range(width))] * MASKS_TIMED
        measured.append(seconds(functools.partial(engine.site_log_scores, rows, class_id, site, masks), True))
    return np.interp(np.arange(len(sites)), timed, measured) / (MASKS_TIMED * len(rows))
