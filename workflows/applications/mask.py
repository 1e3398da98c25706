"""``cawa mask``: channels of lowest, random and highest awareness set to zero, side by side (paper, Fig. 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.applications.editing import check_channels
from cawa_core.errors import InputError
from cawa_core.masking.effects import masking_effects
from cawa_core.masking.engine import MaskingEngine, SiteMasks, log_scores, run_masked
from cawa_core.masking.groups import control_masks
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, as_pixels, draw_sheet
from cawa_core.schemas import ALL_SITES
from cawa_core.seeds import random_generator
from cawa_core.specs import AuditSpec
from cawa_core.storage import Storage, open_storage
from workflows.applications.options import MaskSpec
from workflows.applications.sheets import as_json, provenance, require_rows
from workflows.config import RunOptions
from workflows.stages.masking import site_order
from workflows.workbench import Workbench

SHOWN = ("lowest", "random", "highest")


@dataclasses.dataclass(frozen=True)
class MaskedClass:
    """What masking did to one class.

    Attributes:
        class_id: which.
        masks: by name, channels at each site.
        images: without and with each mask ``[1 + masks, latents, C, H, W]``.
        scores: probability of the class in each ``[1 + masks, latents]``.
        effects: columns of the ``masking`` table, ``[masks]`` each, over all scored latents.
    """

    class_id: int
    masks: dict[str, SiteMasks]
    images: Tensor
    scores: np.ndarray
    effects: dict[str, np.ndarray]


def run_mask(mask: MaskSpec, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet, and write it with the change of every score; gives where.

    Raises:
        InputError: bad input; nothing was written.
    """
    if not mask.classes:
        raise InputError("classes must name at least one class to mask; see `cawa classes`")
    spec = dataclasses.replace(spec, classes=mask.classes, stages=("masking",))
    bench = Workbench.build(spec, options.with_absolute_paths())
    _check(mask, bench)
    with bench.arithmetic():
        found = [_masked(mask, bench, one) for one in bench.spec.classes if isinstance(one, int)]
    storage = open_storage(mask.output or Path("results") / f"{bench.generator.name}-mask")
    storage.write("mask.png", draw_sheet(_sheet(mask, bench, found)))
    storage.write("mask.json", as_json(_description(mask, bench, found)))
    return storage


def _check(mask: MaskSpec, bench: Workbench) -> None:
    sites, classes = bench.generator.sites, len(bench.spec.classes)
    if mask.channels and mask.site == ALL_SITES:
        raise InputError(f"site must be given with channels, in 0..{len(sites) - 1}; see `cawa sites`")
    if mask.channels or mask.site != ALL_SITES:
        check_channels(bench.generator, mask.site, mask.channels or (0,))
    most = min(site.channels - len(site.inert_channels) for site in (sites if mask.site < 0 else [sites[mask.site]]))
    if mask.k > most:
        raise InputError(f"k must be at most {most}, the channels of the smallest site that is masked; got {mask.k}")
    require_rows(mask.latents, classes, "classes")


def _masks(mask: MaskSpec, bench: Workbench, class_id: int) -> dict[str, SiteMasks]:
    if mask.channels:
        return {f"channels {', '.join(map(str, mask.channels))}": {mask.site: mask.channels}}
    sites = [mask.site] if mask.site != ALL_SITES else [site.index for site in bench.generator.sites]
    chosen = {}
    for site in sites:
        order = site_order(bench, class_id, site)
        fraction = mask.k / len(order) if mask.k else bench.spec.control_fraction
        chosen[site] = control_masks(
            order, fraction, bench.spec.control_repeats, random_generator(bench.spec.seed, class_id, site, "control")
        )
    return {name: {site: controls[name][0] for site, controls in chosen.items()} for name in SHOWN}


def _masked(mask: MaskSpec, bench: Workbench, class_id: int) -> MaskedClass:
    masks, z = _masks(mask, bench, class_id), bench.latents(class_id, mask.latents)
    images = [run_masked(bench.generator, z, class_id, one) for one in ({}, *masks.values())]
    scores = [log_scores(bench.evaluator, some, class_id).exp().cpu().numpy() for some in images]
    engine = MaskingEngine(bench.generator, bench.evaluator, bench.batch_size)
    scored = bench.latents(class_id, mask.scored_latents)
    if mask.site == ALL_SITES:
        both = engine.everywhere_log_scores(scored, class_id, list(masks.values()))
    else:
        both = engine.site_log_scores(scored, class_id, mask.site, [one[mask.site] for one in masks.values()])
    return MaskedClass(class_id, masks, torch.stack(images), np.stack(scores), masking_effects(*both))


def _sheet(mask: MaskSpec, bench: Workbench, found: Sequence[MaskedClass]) -> Sheet:
    names, rows = bench.generator.class_names, []
    for one in found:
        for latent in range(mask.latents):
            cells = [
                Cell(as_pixels(one.images[column, latent]), f"p = {one.scores[column, latent]:.2f}", framed=column == 0)
                for column in range(len(one.images))
            ]
            rows.append(SheetRow(names[one.class_id] if latent == 0 else "", tuple(cells), begins_group=latent == 0))
        means, errors = one.effects["score_change"], one.effects["score_change_stderr"]
        lost = [f"{-mean:+.3f} ± {error:.3f}".replace("-", "−") for mean, error in zip(means, errors, strict=True)]
        rows.append(SheetRow("mean change", tuple(Cell(None, text) for text in ("", *lost))))
    where = "every site" if mask.site == ALL_SITES else f"site {mask.site}"
    share = f"{mask.k} channels" if mask.k else f"{bench.spec.control_fraction:.0%} of the channels"
    what = next(iter(found[0].masks)) if mask.channels else share
    heads = ["masked"] if mask.channels else [f"{name} awareness" if name != "random" else name for name in SHOWN]
    return Sheet(
        f"{bench.generator.name}: {what} masked at {where}",
        f"p: probability of the class by {bench.evaluator.name}; mean change of p over {mask.scored_latents:,} latents "
        f"± standard error. Seed {bench.spec.seed}.",
        ("nothing masked", *heads),
        tuple(rows),
    )


def _description(mask: MaskSpec, bench: Workbench, found: Sequence[MaskedClass]) -> dict[str, Any]:
    return {
        **provenance(bench),
        "scores": bench.score_protocol,
        "site": mask.site,
        "scored_latents": mask.scored_latents,
        "classes": [
            {
                "class_id": one.class_id,
                "class": bench.generator.class_names[one.class_id],
                "masks": [
                    {
                        "name": name,
                        "channels": {str(site): channels for site, channels in masks.items()},
                        "scores": one.scores[place + 1].tolist(),
                        **{column: values[place] for column, values in one.effects.items()},
                    }
                    for place, (name, masks) in enumerate(one.masks.items())
                ],
                "unmasked_scores": one.scores[0].tolist(),
            }
            for one in found
        ],
    }
