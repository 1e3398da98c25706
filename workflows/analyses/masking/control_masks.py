"""Control masks: the channels of lowest and highest awareness, and random ones (paper, Fig. 3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cawa_core.generators.base import Channels
from cawa_core.masking.effects import masking_effects
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.groups import control_masks
from cawa_core.numerics.seeds import random_generator
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking import MaskingOptions
from workflows.lab import Lab

MaskNames = list[tuple[str, int]]
"""(control, repeat) of each mask."""


def site_controls(
    lab: Lab, class_id: int, site: int, *, fraction: float, repeats: int, k: int = 0
) -> dict[str, list[Channels]]:
    """Return the control masks of a class and site.

    Args:
        lab: lab with the generator.
        class_id: class whose awareness orders the channels.
        site: site of the channels.
        fraction: share of the channels that each mask hides.
        repeats: number of random masks; fewer are the first of more.
        k: number of channels that each mask hides, instead of a share.
    """
    random = random_generator(lab.spec.seed, class_id, site, "control")
    order = lab.channel_order(class_id, site)
    return control_masks(order, k / len(order) if k else fraction, repeats, random)


def _controls(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> dict[str, list[Channels]]:
    fraction = options.control_fraction
    return site_controls(lab, class_id, site, fraction=fraction, repeats=options.control_repeats)


def site_control_rows(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> dict[str, Any]:
    """Compute the rows of the control masks of a site."""
    controls = _controls(lab, options, class_id, site)
    masks = [mask for masks in controls.values() for mask in masks]
    z = lab.latents(class_id, options.control_latents)
    unmasked, masked = masking_engine(lab).site_log_scores(z, class_id, site, masks)
    sizes = [len(mask) for mask in masks]
    return _control_rows(lab, options, class_id, site, _mask_names(controls), sizes, unmasked, masked)


def everywhere_rows(lab: Lab, options: MaskingOptions, class_id: int) -> dict[str, Any]:
    """Compute the rows of the control masks of all sites at once."""
    by_site = {site.index: _controls(lab, options, class_id, site.index) for site in lab.generator.sites}
    names = _mask_names(by_site[0])
    masks = [{site: controls[name][repeat] for site, controls in by_site.items()} for name, repeat in names]
    z = lab.latents(class_id, options.control_latents)
    unmasked, masked = masking_engine(lab).everywhere_log_scores(z, class_id, masks)
    sizes = [sum(map(len, mask.values())) for mask in masks]
    return _control_rows(lab, options, class_id, ALL_SITES, names, sizes, unmasked, masked)


def _mask_names(controls: dict[str, list[Channels]]) -> MaskNames:
    return [(name, repeat) for name, masks in controls.items() for repeat in range(len(masks))]


def _control_rows(
    lab: Lab,
    options: MaskingOptions,
    class_id: int,
    site: int,
    names: MaskNames,
    sizes: list[int],
    unmasked: np.ndarray,
    masked: np.ndarray,
) -> dict[str, Any]:
    no_op = masked[names.index(("no_op", 0))]
    if not np.array_equal(no_op, unmasked):
        worst = np.abs(no_op - unmasked).max()
        raise RuntimeError(f"an empty mask changed the score of class {class_id} at site {site} by up to {worst:.3g}")
    return {
        "class_id": [class_id] * len(names),
        "site": [site] * len(names),
        "control": [name for name, _ in names],
        "repeat": [repeat for _, repeat in names],
        "n_channels": sizes,
        **masking_effects(unmasked, masked),
        "n_samples": [len(unmasked)] * len(names),
        "protocol": [masking_protocol(lab, options)] * len(names),
    }


def masking_protocol(lab: Lab, options: MaskingOptions) -> str:
    """Say how the scores behind masking effects are made."""
    corrected = options.masking_estimator == "two_precisions"
    return f"{lab.score_protocol} corrected from bfloat16" if corrected else lab.score_protocol


def masking_engine(lab: Lab) -> MaskingEngine:
    """Return what scores images under masks, with the models of a lab."""
    return MaskingEngine(lab.generator, lab.evaluator, lab.batch)
