"""Effects of masking the channel groups of a site, by the estimator that the options choose."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.generators.base import Channels
from cawa_core.masking.effects import changes
from cawa_core.masking.estimation import MaskingEstimates, SamplingPlan, estimated_effects, in_given_order
from cawa_core.masking.groups import consecutive_groups
from cawa_core.masking.screening import Screening, screened
from cawa_core.numerics.arithmetic import arithmetic
from workflows.analyses.masking import MaskingOptions
from workflows.analyses.masking.control_masks import masking_engine, masking_protocol
from workflows.lab import Lab

Changes = dict[str, NDArray[np.float64]]
RANKED_BY = "score_change_abs"
"""Screened effect by which channel groups are ranked for ``top``."""


def group_rows(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> dict[str, Any]:
    """Compute the rows of the channel groups of a site."""
    groups = site_groups(lab, options, class_id, site)
    by_gradient = _screened_changes(lab, options, class_id, site, groups)
    effects = _estimates(lab, options, class_id, site, groups, by_gradient)
    return {
        "class_id": [class_id] * len(groups),
        "site": [site] * len(groups),
        "group": range(len(groups)),
        "channels": groups,
        **effects.columns,
        **{f"screened_{name}": by_gradient[name].mean(axis=1) for name in ("score_change", "score_change_abs")},
        "method": effects.method,
        "n_samples": effects.n_samples,
        "n_screened": [options.masking_latents] * len(groups),
        "protocol": [masking_protocol(lab, options)] * len(groups),
    }


def site_groups(lab: Lab, options: MaskingOptions, class_id: int, site: int) -> list[Channels]:
    """Return the groups of channels of a site that are masked together."""
    return consecutive_groups(lab.channel_order(class_id, site), options.masking_group_size)


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
        return masking_engine(lab).site_log_scores(rows, class_id, site, [groups[mask] for mask in masks])

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


def _plan(options: MaskingOptions) -> SamplingPlan:
    return SamplingPlan(
        options.masking_estimator, options.masking_latents, options.exact_latents, options.target_stderr
    )


def _lower_precision(lab: Lab) -> AbstractContextManager[object]:
    return arithmetic("bfloat16", lab.generator.device)
