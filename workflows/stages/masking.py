"""Exact masking of every channel group of one site for a block of classes, with its controls."""

from __future__ import annotations

from typing import Any

import numpy as np

from cawa_core.masking.effects import masking_effects
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.groups import Channels, awareness_order, consecutive_groups, control_masks
from cawa_core.schemas import ALL_SITES
from cawa_core.seeds import random_generator
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.workbench import Workbench

Named = list[tuple[str, int]]
"""(control, repeat) of each mask."""


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of ``masking`` and ``masking_controls``; the all-site controls go with site 0.

    Raises:
        RuntimeError: masking nothing changed a score.
    """
    masking, controls = [], []
    for class_id in shard.class_ids:
        for site in shard.sites:
            groups, control = _site_rows(bench, class_id, site)
            masking.append(groups)
            controls.append(control)
        if 0 in shard.sites:
            controls.append(_everywhere_rows(bench, class_id))
    return {"masking": _stacked(masking), "masking_controls": _stacked(controls)}


def site_order(bench: Workbench, class_id: int, site: int) -> np.ndarray:
    """Channels of a site that reach the image, in ascending category awareness of the class."""
    awareness = class_awareness(bench, (class_id,), site).category_awareness[0]
    return awareness_order(awareness, bench.generator.sites[site].inert_channels)


def site_controls(bench: Workbench, class_id: int, site: int) -> dict[str, list[Channels]]:
    """Control masks of one class and site."""
    random = random_generator(bench.spec.seed, class_id, site, "control")
    order = site_order(bench, class_id, site)
    return control_masks(order, bench.spec.control_fraction, bench.spec.control_repeats, random)


def _site_rows(bench: Workbench, class_id: int, site: int) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = consecutive_groups(site_order(bench, class_id, site), bench.spec.masking_group_size)
    controls = site_controls(bench, class_id, site)
    control_channels = [mask for masks in controls.values() for mask in masks]
    z = bench.latents(class_id, bench.spec.masking_latents)
    unmasked, masked = _engine(bench).site_log_scores(z, class_id, site, groups + control_channels)
    effects = masking_effects(unmasked, masked[: len(groups)])
    rows = {
        "class_id": [class_id] * len(groups),
        "site": [site] * len(groups),
        "group": range(len(groups)),
        "channels": groups,
        **effects,
        "screened_score_change": [None] * len(groups),
        "screened_score_change_abs": [None] * len(groups),
        "method": ["exact"] * len(groups),
        "n_samples": [len(z)] * len(groups),
        "protocol": [bench.score_protocol] * len(groups),
    }
    sizes = [len(mask) for mask in control_channels]
    return rows, _control_rows(bench, class_id, site, _named(controls), sizes, unmasked, masked[len(groups) :])


def _everywhere_rows(bench: Workbench, class_id: int) -> dict[str, Any]:
    by_site = {site.index: site_controls(bench, class_id, site.index) for site in bench.generator.sites}
    names = _named(by_site[0])
    masks = [{site: controls[name][repeat] for site, controls in by_site.items()} for name, repeat in names]
    z = bench.latents(class_id, bench.spec.masking_latents)
    unmasked, masked = _engine(bench).everywhere_log_scores(z, class_id, masks)
    sizes = [sum(map(len, mask.values())) for mask in masks]
    return _control_rows(bench, class_id, ALL_SITES, names, sizes, unmasked, masked)


def _engine(bench: Workbench) -> MaskingEngine:
    return MaskingEngine(bench.generator, bench.evaluator, bench.batch_size)


def _named(controls: dict[str, list[Channels]]) -> Named:
    return [(name, repeat) for name, masks in controls.items() for repeat in range(len(masks))]


def _control_rows(
    bench: Workbench,
    class_id: int,
    site: int,
    names: Named,
    sizes: list[int],
    unmasked: np.ndarray,
    masked: np.ndarray,
) -> dict[str, Any]:
    no_op = masked[names.index(("no_op", 0))]
    if not np.array_equal(no_op, unmasked):
        worst = np.abs(no_op - unmasked).max()
        raise RuntimeError(f"masking nothing changed the score of class {class_id} at site {site} by up to {worst:.3g}")
    return {
        "class_id": [class_id] * len(names),
        "site": [site] * len(names),
        "control": [name for name, _ in names],
        "repeat": [repeat for _, repeat in names],
        "n_channels": sizes,
        **masking_effects(unmasked, masked),
        "n_samples": [len(unmasked)] * len(names),
        "protocol": [bench.score_protocol] * len(names),
    }


def _stacked(parts: list[dict[str, Any]]) -> Rows:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def passes(bench: Workbench, site: int) -> float:
    """One part of a pass a latent and group, shorter for later sites."""
    sites = bench.generator.sites
    groups = sites[site].channels / bench.spec.masking_group_size + bench.spec.control_repeats
    return bench.spec.masking_latents * groups * (1 - site / (len(sites) + 1))


MASKING = Stage("masking", by_site=True, classes_per_shard=1, passes=passes, process=process)
