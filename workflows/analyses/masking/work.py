"""Effect on the score of masking each channel group of a site, for a block of classes, with control masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.errors import InputError
from cawa_core.masking.sampling import SMALLEST
from cawa_core.masking.screening import screened
from cawa_core.tables import Manifest, Rows
from workflows.analyses.masking import MASKING_CONTROLS_TABLE, MASKING_TABLE, MaskingOptions
from workflows.analyses.masking.control_masks import everywhere_rows, site_control_rows
from workflows.analyses.masking.cost import mask_seconds, masks_of_site, screened_latents, shares_screening
from workflows.analyses.masking.effects import group_rows
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard


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
                masking.append(group_rows(lab, options, class_id, site))
                controls.append(site_control_rows(lab, options, class_id, site))
            if 0 in shard.sites:
                controls.append(everywhere_rows(lab, options, class_id))
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
        masks = mask_seconds(lab, options, z, class_id, seconds)
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


def _concatenated(parts: list[dict[str, Any]]) -> Rows:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
