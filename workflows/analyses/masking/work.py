"""Effect on the score of masking each channel group of a site, for a block of classes, with control masks."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.arithmetic import arithmetic
from cawa_core.errors import InputError
from cawa_core.generators.base import Channels
from cawa_core.masking.effects import changes, masking_effects
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.estimation import MaskingEstimates, SamplingPlan, estimated_effects, in_given_order
from cawa_core.masking.groups import consecutive_groups, control_masks
from cawa_core.masking.sampling import SMALLEST
from cawa_core.masking.screening import Screening, screened
from cawa_core.seeds import random_generator
from cawa_core.table_schema import ALL_SITES
from cawa_core.tables import Manifest, Rows
from workflows.analyses.base import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.analyses.masking import MASKING_CONTROLS_TABLE, MASKING_TABLE, MaskingOptions
from workflows.lab import Lab
from workflows.shards import Shard

MaskNames = list[tuple[str, int]]
"""(control, repeat) of each mask."""
Changes = dict[str, NDArray[np.float64]]
MASKS_TIMED, SITES_TIMED = 8, 3
"""Masks and sites that a plan times."""
RANKED_BY = "score_change_abs"
"""Screened effect by which channel groups are ranked for ``top``."""


class MaskingWork(Work[MaskingOptions]):
    """Computation of the tables ``masking`` and ``masking_controls``."""

    def check_options(self, options: MaskingOptions) -> None:
        """Check that the estimator and its numbers of latents go together."""
        estimator = options.masking_estimator
        if estimator in ("regression", "two_precisions") and options.masking_latents < SMALLEST:
            raise InputError(
                f"masking_latents must be at least {SMALLEST} for masking_estimator={estimator}; got "
                f"{options.masking_latents}: raise it, or use --masking-estimator exact"
            )
        if estimator == "screening" and (options.target_stderr or options.top):
            raise InputError(
                "target_stderr and top need masks; masking_estimator=screening has none: leave them out, or use "
                "regression"
            )

    def check(self, lab: Lab, options: MaskingOptions) -> None:
        """Check that the generator can be screened, and that its arithmetic suits the estimator."""
        if options.masking_estimator == "two_precisions" and lab.spec.dtype != "float32":
            raise InputError(
                "dtype must be float32 for masking_estimator=two_precisions, which masks in bfloat16 beside it; got "
                f"{lab.spec.dtype}"
            )
        if not lab.generator.has_gradients:
            raise InputError(
                f"{lab.generator.name} must let gradients through for masking, which screens by them; its pass is "
                "without: take torch.no_grad out of it, or leave masking out of --stages"
            )

    def units(self, lab: Lab, options: MaskingOptions, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the sites."""
        return [(site.index,) for site in lab.generator.sites]

    def blocks(self, lab: Lab, options: MaskingOptions, units: Sequence[Unit]) -> list[tuple[Unit, ...]]:
        """Keep the sites of a class together if they share one screening."""
        return [tuple(units)] if shares_screening(options) else super().blocks(lab, options, units)

    def run(self, lab: Lab, options: MaskingOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes and sites; the all-site controls go with site 0.

        Raises:
            RuntimeError: an empty mask changed a score.
        """
        masking = []
        controls = []
        for class_id in shard.class_ids:
            for site in shard.sites:
                groups, control = _site_rows(lab, options, class_id, site)
                masking.append(groups)
                controls.append(control)
            if 0 in shard.sites:
                controls.append(_everywhere_rows(lab, options, class_id))
        return Output(
            {MASKING_TABLE.name: _concatenated(masking), MASKING_CONTROLS_TABLE.name: _concatenated(controls)}
        )

    def cost(self, lab: Lab, options: MaskingOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: part of a pass per mask, less for later sites, and three passes per screened latent."""
        site = int(unit[0])
        n_sites = len(lab.generator.sites)
        masks = masks_of_site(lab, options, site) * (1 - site / (n_sites + 1))
        passes = masks + 3 * screened_latents(options) / n_sites
        return Cost(passes, math.ceil(lab.generator.sites[site].channels / options.masking_group_size))

    def pace(self, lab: Lab, options: MaskingOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time one mask of one latent per site, and the screening of one latent."""
        class_id = lab.class_ids[0]
        n = lab.batch_size
        z = lab.latents(class_id, n)
        masks = _mask_seconds(lab, options, z, class_id, seconds)
        screening = seconds(lambda: screened(lab.generator, lab.evaluator, z, class_id, n), True) / n
        return {"screening": screening} | {f"mask at site {site}": value for site, value in enumerate(masks)}

    def seconds(self, lab: Lab, options: MaskingOptions, shard: Shard, pace: Pace) -> float:
        """Predict seconds: of its masks, and of its share of the screening that the sites of a class share."""
        masks = sum(masks_of_site(lab, options, site) * pace[f"mask at site {site}"] for site in shard.sites)
        share = len(shard.sites) / len(lab.generator.sites)
        return len(shard.class_ids) * (masks + share * screened_latents(options) * pace["screening"])

    def label(self, options: MaskingOptions) -> str:
        """Name the estimator."""
        return options.masking_estimator

    def alternatives(self, options: MaskingOptions) -> Mapping[str, Mapping[str, Any]]:
        """Return the other estimators."""
        names = (name for name in ("exact", "regression", "screening") if name != options.masking_estimator)
        return {name: {"masking_estimator": name, "target_stderr": 0, "top": 0} for name in names}

    def speeds(self, pace: Pace) -> Sequence[str]:
        """Say how fast masks and screening are."""
        masks = 1 / pace["mask at site 0"]
        latents = 1 / pace["screening"]
        return [f"{masks:.4g} masks at the first site and {latents:.4g} screened latents per second"]

    def remarks(self, options: MaskingOptions) -> Sequence[str]:
        """Say what a target standard error adds."""
        if not options.target_stderr:
            return ()
        return ["target_stderr: masks whose error is too large get more latents than the plan counts"]


def _mask_seconds(
    lab: Lab, options: MaskingOptions, z: Tensor, class_id: int, seconds: Stopwatch
) -> NDArray[np.float64]:
    """Time one mask of one latent per site: measured at a few sites, interpolated linearly between them."""
    engine = _engine(lab)
    sites = lab.generator.sites
    timed = np.unique(np.linspace(0, len(sites) - 1, SITES_TIMED).astype(int)).tolist()
    rows = z[: max(1, min(len(z), options.exact_latents))]
    measured = []
    for site in timed:
        width = min(options.masking_group_size, sites[site].channels)
        masks = [tuple(range(width))] * MASKS_TIMED
        measured.append(seconds(functools.partial(engine.site_log_scores, rows, class_id, site, masks), True))
    return np.interp(np.arange(len(sites)), timed, measured) / (MASKS_TIMED * len(rows))


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


def site_groups(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> list[Channels]:
    """Return the groups of channels of a site that are masked together."""
    return consecutive_groups(lab.channel_order(class_id, site), options.masking_group_size)


def _site_rows(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = site_groups(lab, options, class_id, site)
    by_gradient = _screened_changes(lab, options, class_id, site, groups)
    effects = _estimates(lab, options, class_id, site, groups, by_gradient)
    rows = {
        "class_id": [class_id] * len(groups),
        "site": [site] * len(groups),
        "group": range(len(groups)),
        "channels": groups,
        **effects.columns,
        **{f"screened_{name}": by_gradient[name].mean(axis=1) for name in ("score_change", "score_change_abs")},
        "method": effects.method,
        "n_samples": effects.n_samples,
        "n_screened": [options.masking_latents] * len(groups),
        "protocol": [_protocol(lab, options)] * len(groups),
    }
    return rows, _site_control_rows(lab, options, class_id, site)


def _estimates(
    lab: Lab, options: MaskingOptions, class_id: int, site: int, groups: list[Channels], by_gradient: Changes
) -> MaskingEstimates:
    """Estimate the effects of the groups: by the spec's estimator for the ``top`` groups, else by screening alone."""
    z = lab.latents(class_id, options.masking_latents)
    plan = _plan(options)
    screening = dataclasses.replace(plan, estimator="screening")
    selected = _top_groups(lab, options, class_id, by_gradient)

    def exact(latents: range, masks: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = z[latents.start : latents.stop]
        return _engine(lab).site_log_scores(rows, class_id, site, [groups[mask] for mask in masks])

    def low(latents: range, masks: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with _lower_precision(lab):
            return exact(latents, masks)

    def part(masks: NDArray[np.int64], plan: SamplingPlan) -> tuple[NDArray[np.int64], MaskingEstimates]:
        in_low = (lambda latents, subset: low(latents, masks[subset])) if plan.estimator == "two_precisions" else None
        cheap = {name: values[masks] for name, values in by_gradient.items()}
        return masks, estimated_effects(lambda latents, subset: exact(latents, masks[subset]), cheap, plan, in_low)

    rest = np.setdiff1d(np.arange(len(groups)), selected)
    return in_given_order(
        [part(masks, sampling) for masks, sampling in ((selected, plan), (rest, screening)) if len(masks)]
    )


def _top_groups(lab: Lab, options: MaskingOptions, class_id: int, by_gradient: Changes) -> NDArray[np.int64]:
    """Return the groups of a site among the class's ``top`` by screened absolute change; all groups without ``top``."""
    at_site = by_gradient[RANKED_BY].mean(axis=1)
    if not options.top:
        return np.arange(len(at_site))
    everywhere = []
    for site in lab.generator.sites:
        groups = site_groups(lab, options, class_id, site.index)
        everywhere.append(_screened_changes(lab, options, class_id, site.index, groups)[RANKED_BY].mean(axis=1))
    ranked = np.sort(np.concatenate(everywhere))[::-1]
    return np.flatnonzero(at_site >= ranked[min(options.top, len(ranked)) - 1])


def _screened_changes(lab: Lab, options: MaskingOptions, class_id: int, site: int, groups: list[Channels]) -> Changes:
    """Return the screened changes of every latent, ``[n_groups, masking_latents]`` per effect."""
    screening = _screening(lab, options, class_id)
    masked = screening.log_scores(site, groups).cpu().numpy()
    return changes(screening.unmasked.cpu().numpy(), masked)


def _screening(lab: Lab, options: MaskingOptions, class_id: int) -> Screening:
    """Screen all sites for a class; the result is cached until another class is screened."""
    plan = _plan(options)
    low = plan.estimator == "two_precisions" and plan.uses_screening  # it then serves masks in that precision

    def compute() -> Screening:
        z = lab.latents(class_id, options.masking_latents)
        with _lower_precision(lab) if low else nullcontext():
            return screened(lab.generator, lab.evaluator, z, class_id, lab.batch_size)

    return lab.memo.latest("screening", (lab.spec.seed, class_id, options.masking_latents, low), compute)


def _site_control_rows(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> dict[str, Any]:
    controls = _controls(lab, options, class_id, site)
    masks = [mask for masks in controls.values() for mask in masks]
    z = lab.latents(class_id, options.control_latents)
    unmasked, masked = _engine(lab).site_log_scores(z, class_id, site, masks)
    sizes = [len(mask) for mask in masks]
    return _control_rows(lab, options, class_id, site, _mask_names(controls), sizes, unmasked, masked)


def _everywhere_rows(lab: Lab, options: MaskingOptions, class_id: int) -> dict[str, Any]:
    by_site = {site.index: _controls(lab, options, class_id, site.index) for site in lab.generator.sites}
    names = _mask_names(by_site[0])
    masks = [{site: controls[name][repeat] for site, controls in by_site.items()} for name, repeat in names]
    z = lab.latents(class_id, options.control_latents)
    unmasked, masked = _engine(lab).everywhere_log_scores(z, class_id, masks)
    sizes = [sum(map(len, mask.values())) for mask in masks]
    return _control_rows(lab, options, class_id, ALL_SITES, names, sizes, unmasked, masked)


def _protocol(lab: Lab, options: MaskingOptions) -> str:
    corrected = options.masking_estimator == "two_precisions"
    return f"{lab.score_protocol} corrected from bfloat16" if corrected else lab.score_protocol


def _plan(options: MaskingOptions) -> SamplingPlan:
    return SamplingPlan(
        options.masking_estimator, options.masking_latents, options.exact_latents, options.target_stderr
    )


def _lower_precision(lab: Lab) -> AbstractContextManager[object]:
    return arithmetic("bfloat16", lab.generator.device)


def _engine(lab: Lab) -> MaskingEngine:
    return MaskingEngine(lab.generator, lab.evaluator, lab.batch)


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
        "protocol": [_protocol(lab, options)] * len(names),
    }


def _concatenated(parts: list[dict[str, Any]]) -> Rows:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


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
