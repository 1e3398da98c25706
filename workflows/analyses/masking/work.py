"""Effect on the score of masking each channel group of a site, for a block of classes, with control masks."""

from __future__ import annotations

import dataclasses
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.arithmetic import arithmetic
from cawa_core.generators.base import Channels
from cawa_core.masking.effects import changes, masking_effects
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.estimation import (
    MaskingEstimates,
    SamplingPlan,
    estimated_effects,
    in_given_order,
)
from cawa_core.masking.groups import awareness_order, consecutive_groups, control_masks
from cawa_core.masking.screening import Screening, screened
from cawa_core.seeds import random_generator
from cawa_core.table_schema import ALL_SITES
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.spec import AuditSpec
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.units import Calibration
from workflows.workbench import Workbench

MaskNames = list[tuple[str, int]]
"""(control, repeat) of each mask."""
Changes = dict[str, NDArray[np.float64]]
RANKED_BY = "score_change_abs"
"""Screened effect by which channel groups are ranked for ``top``."""


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of ``masking`` and ``masking_controls``; the all-site controls go with site 0.

    Raises:
        RuntimeError: an empty mask changed a score.
    """
    masking = []
    controls = []
    for class_id in shard.class_ids:
        for site in shard.sites:
            groups, control = _site_rows(bench, class_id, site)
            masking.append(groups)
            controls.append(control)
        if 0 in shard.sites:
            controls.append(_everywhere_rows(bench, class_id))
    return {"masking": _concatenated(masking), "masking_controls": _concatenated(controls)}


def site_order(bench: Workbench, class_id: int, site: int) -> np.ndarray:
    """Return the channels of a site that reach the image, in ascending category awareness of the class."""
    awareness = class_awareness(bench, (class_id,), site).category_awareness[0]
    return awareness_order(awareness, bench.generator.sites[site].inert_channels)


def site_controls(bench: Workbench, class_id: int, site: int, k: int = 0) -> dict[str, list[Channels]]:
    """Return the control masks of a class and site, of ``k`` channels each or of the spec's share."""
    random = random_generator(bench.spec.seed, class_id, site, "control")
    order = site_order(bench, class_id, site)
    fraction = k / len(order) if k else bench.spec.control_fraction
    return control_masks(order, fraction, bench.spec.control_repeats, random)


def site_groups(bench: Workbench, class_id: int, site: int) -> list[Channels]:
    """Return the groups of channels of a site that are masked together."""
    return consecutive_groups(site_order(bench, class_id, site), bench.spec.masking_group_size)


def _site_rows(bench: Workbench, class_id: int, site: int) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = site_groups(bench, class_id, site)
    by_gradient = _screened_changes(bench, class_id, site, groups)
    effects = _estimates(bench, class_id, site, groups, by_gradient)
    rows = {
        "class_id": [class_id] * len(groups),
        "site": [site] * len(groups),
        "group": range(len(groups)),
        "channels": groups,
        **effects.columns,
        **{f"screened_{name}": by_gradient[name].mean(axis=1) for name in ("score_change", "score_change_abs")},
        "method": effects.method,
        "n_samples": effects.n_samples,
        "n_screened": [bench.spec.masking_latents] * len(groups),
        "protocol": [bench.score_protocol] * len(groups),
    }
    return rows, _site_control_rows(bench, class_id, site)


def _estimates(
    bench: Workbench, class_id: int, site: int, groups: list[Channels], by_gradient: Changes
) -> MaskingEstimates:
    """Estimate the effects of the groups: by the spec's estimator for the ``top`` groups, else by screening alone."""
    z = bench.latents(class_id, bench.spec.masking_latents)
    plan = _plan(bench.spec)
    screening = dataclasses.replace(plan, estimator="screening")
    selected = _top_groups(bench, class_id, by_gradient)

    def exact(latents: range, masks: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = z[latents.start : latents.stop]
        return _engine(bench).site_log_scores(rows, class_id, site, [groups[mask] for mask in masks])

    def low(latents: range, masks: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with _lower_precision(bench):
            return exact(latents, masks)

    def part(masks: NDArray[np.int64], plan: SamplingPlan) -> tuple[NDArray[np.int64], MaskingEstimates]:
        in_low = (lambda latents, subset: low(latents, masks[subset])) if plan.estimator == "two_precisions" else None
        cheap = {name: values[masks] for name, values in by_gradient.items()}
        return masks, estimated_effects(lambda latents, subset: exact(latents, masks[subset]), cheap, plan, in_low)

    rest = np.setdiff1d(np.arange(len(groups)), selected)
    return in_given_order(
        [part(masks, sampling) for masks, sampling in ((selected, plan), (rest, screening)) if len(masks)]
    )


def _top_groups(bench: Workbench, class_id: int, by_gradient: Changes) -> NDArray[np.int64]:
    """Return the groups of a site among the class's ``top`` by screened absolute change; all groups without ``top``."""
    at_site = by_gradient[RANKED_BY].mean(axis=1)
    if not bench.spec.top:
        return np.arange(len(at_site))
    everywhere = [
        _screened_changes(bench, class_id, site.index, site_groups(bench, class_id, site.index))[RANKED_BY].mean(axis=1)
        for site in bench.generator.sites
    ]
    ranked = np.sort(np.concatenate(everywhere))[::-1]
    return np.flatnonzero(at_site >= ranked[min(bench.spec.top, len(ranked)) - 1])


def _screened_changes(bench: Workbench, class_id: int, site: int, groups: list[Channels]) -> Changes:
    """Return the screened changes of every latent, ``[n_groups, masking_latents]`` per effect."""
    screening = _screening(bench, class_id)
    masked = screening.log_scores(site, groups).cpu().numpy()
    return changes(screening.unmasked.cpu().numpy(), masked)


def _screening(bench: Workbench, class_id: int) -> Screening:
    """Screen all sites for a class; the result is cached until another class is screened."""
    cached = bench.kept.get("screening")
    if cached is None or cached[0] != class_id:
        z = bench.latents(class_id, bench.spec.masking_latents)
        plan = _plan(bench.spec)
        low = plan.estimator == "two_precisions" and plan.uses_screening  # it then serves masks in that precision
        with _lower_precision(bench) if low else nullcontext():
            cached = class_id, screened(bench.generator, bench.evaluator, z, class_id, bench.batch_size)
        bench.kept["screening"] = cached
    screening: Screening = cached[1]
    return screening


def _site_control_rows(bench: Workbench, class_id: int, site: int) -> dict[str, Any]:
    controls = site_controls(bench, class_id, site)
    masks = [mask for masks in controls.values() for mask in masks]
    z = bench.latents(class_id, bench.spec.control_latents)
    unmasked, masked = _engine(bench).site_log_scores(z, class_id, site, masks)
    sizes = [len(mask) for mask in masks]
    return _control_rows(bench, class_id, site, _mask_names(controls), sizes, unmasked, masked)


def _everywhere_rows(bench: Workbench, class_id: int) -> dict[str, Any]:
    by_site = {site.index: site_controls(bench, class_id, site.index) for site in bench.generator.sites}
    names = _mask_names(by_site[0])
    masks = [{site: controls[name][repeat] for site, controls in by_site.items()} for name, repeat in names]
    z = bench.latents(class_id, bench.spec.control_latents)
    unmasked, masked = _engine(bench).everywhere_log_scores(z, class_id, masks)
    sizes = [sum(map(len, mask.values())) for mask in masks]
    return _control_rows(bench, class_id, ALL_SITES, names, sizes, unmasked, masked)


def _plan(spec: AuditSpec) -> SamplingPlan:
    return SamplingPlan(spec.masking_estimator, spec.masking_latents, spec.exact_latents, spec.target_stderr)


def _lower_precision(bench: Workbench) -> AbstractContextManager[object]:
    return arithmetic("bfloat16", bench.generator.device)


def _engine(bench: Workbench) -> MaskingEngine:
    return MaskingEngine(bench.generator, bench.evaluator, bench.batch)


def _mask_names(controls: dict[str, list[Channels]]) -> MaskNames:
    return [(name, repeat) for name, masks in controls.items() for repeat in range(len(masks))]


def _control_rows(
    bench: Workbench,
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
        "protocol": [bench.score_protocol] * len(names),
    }


def _concatenated(parts: list[dict[str, Any]]) -> Rows:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def passes(bench: Workbench, site: int) -> float:
    """Estimate the work: part of a pass per mask, less for later sites, and three passes per screened latent."""
    n_sites = len(bench.generator.sites)
    return masks_of_site(bench, site) * (1 - site / (n_sites + 1)) + 3 * screened_latents(bench.spec) / n_sites


def masks_of_site(bench: Workbench, site: int) -> float:
    """Count the masked passes of single latents for one class at a site, controls included.

    A bfloat16 pass counts as half; with a target standard error, only the first latents of each mask count.
    """
    spec = bench.spec
    sites = bench.generator.sites
    groups = math.ceil(sites[site].channels / spec.masking_group_size)
    if spec.top:
        n_channels = sum(each.channels for each in sites)
        groups = min(groups, math.ceil(spec.top * sites[site].channels / n_channels))
    latents = {"exact": spec.masking_latents, "regression": spec.exact_latents, "screening": 0}
    latents["two_precisions"] = spec.exact_latents + spec.masking_latents // 2
    if spec.target_stderr:
        latents = dict.fromkeys(latents, spec.exact_latents)
    return groups * latents[spec.masking_estimator] + spec.control_latents * (spec.control_repeats + 3)


def screened_latents(spec: AuditSpec) -> int:
    """Count the latents per class whose gradient is taken."""
    return spec.masking_latents if shares_screening(spec) else 0


def shares_screening(spec: AuditSpec) -> bool:
    """Return whether all sites of a class share one screening, because repeating it per site costs too much."""
    return spec.masking_estimator != "exact" or spec.top > 0


def rows(bench: Workbench, shard: Shard) -> int:
    """Count the rows: one per class and channel group."""
    size = bench.spec.masking_group_size
    return len(shard.class_ids) * sum(math.ceil(bench.generator.sites[site].channels / size) for site in shard.sites)


def seconds(bench: Workbench, shard: Shard, units: Calibration) -> float:
    """Estimate the seconds of a shard: its masks, and its share of the screening that the sites of a class share."""
    masks = sum(masks_of_site(bench, site) * units.mask[site] for site in shard.sites)
    share = len(shard.sites) / len(bench.generator.sites)
    return len(shard.class_ids) * (masks + share * screened_latents(bench.spec) * units.screened)


MASKING = Stage(
    "masking",
    by_site=True,
    classes_per_shard=1,
    passes=passes,
    process=process,
    rows_of_shard=rows,
    seconds=seconds,
    whole_classes=shares_screening,
)
