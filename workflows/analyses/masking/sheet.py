"""``cawa mask``: zero the channels of lowest, random and highest awareness, side by side (paper, Fig. 3)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.interventions import SiteMasks, masks_at
from cawa_core.masking.effects import changes
from cawa_core.masking.engine import MaskingEngine
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.statistics.standard_errors import crossed_standard_error, standard_error
from cawa_core.storage import Storage
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking import MaskingOptions
from workflows.analyses.masking.command import MaskCommandOptions
from workflows.analyses.masking.control_masks import site_controls
from workflows.commands.sheets import (
    Advance,
    as_json,
    change_in_words,
    computed,
    opened_output,
    probability_in_words,
    provenance,
    require_rows,
)
from workflows.lab import Lab
from workflows.options.audit import AuditSpec, options_as
from workflows.options.run import RunOptions

CONTROLS = ("lowest", "random", "highest")
Array = NDArray[np.float64]
Effects = dict[str, float]
"""Columns of the ``masking`` table, for one mask or over several draws."""


@dataclasses.dataclass(frozen=True)
class MaskedClass:
    """Effects of masking on one class.

    Attributes:
        class_id: the class.
        masks: channels at each site, by name: one mask, or the draws of the random mask, of which the first is shown.
        images: unmasked and under each shown mask ``[1 + names, latents, C, H, W]``.
        scores: probability of the class in each image ``[1 + names, latents]``.
        effects: mean effects by name, over all scored latents and, for the random mask, over all its draws.
        draws: mean effects of each draw of the random mask.
        gained: effects of the highest mask minus those of the random mask on the same latents; None for given channels.
    """

    class_id: int
    masks: Mapping[str, Sequence[SiteMasks]]
    images: Tensor
    scores: Array
    effects: Mapping[str, Effects]
    draws: Sequence[Effects]
    gained: Effects | None


def run_mask(mask: MaskCommandOptions, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet and write it with the change of every score; return where it was written.

    Raises:
        InputError: bad input, or the sheet cannot be written; nothing was written.
    """
    if not mask.classes:
        raise InputError("classes must name at least one class to mask; see `cawa classes`")
    spec = dataclasses.replace(spec, classes=mask.classes)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ("evaluator",))
    _check(mask, lab)
    storage = opened_output(mask.output, lab, "mask")
    controls = options_as(MaskingOptions, spec)
    work = functools.partial(_mask_class, mask, lab, controls)
    results = computed(lab, "masking", lab.class_ids, work, unit="classes")
    storage.write("mask.png", draw_sheet(_sheet(mask, lab, controls, results)))
    storage.write("mask.json", as_json(provenance(lab, spec, mask) | _description(mask, lab, results)))
    return storage


def _check(mask: MaskCommandOptions, lab: Lab) -> None:
    sites = lab.generator.sites
    if mask.channels and mask.site == ALL_SITES:
        raise InputError(f"site must be given with channels, in 0..{len(sites) - 1}; see `cawa sites`")
    if mask.channels and mask.k:
        raise InputError(
            f"k is the number of channels to choose by awareness; got {mask.k} and channels: leave out one of them"
        )
    if mask.channels or mask.site != ALL_SITES:
        lab.generator.require_channels(mask.site, mask.channels or (0,))
    most = min(site.channels - len(site.inert_channels) for site in (sites if mask.site < 0 else [sites[mask.site]]))
    if mask.k > most:
        raise InputError(f"k must be at most {most}, the channels of the smallest masked site; got {mask.k}")
    require_rows(mask.latents, len(lab.class_ids), "classes")


def _masks(mask: MaskCommandOptions, lab: Lab, controls: MaskingOptions, class_id: int) -> dict[str, list[SiteMasks]]:
    """Return masks by name, as in an audit: one mask per name, or all draws of the random one."""
    if mask.channels:
        return {f"channels {', '.join(map(str, mask.channels))}": [{mask.site: mask.channels}]}
    sites = [mask.site] if mask.site != ALL_SITES else [site.index for site in lab.generator.sites]
    fraction = controls.control_fraction
    repeats = controls.control_repeats
    by_site = {site: site_controls(lab, class_id, site, fraction=fraction, repeats=repeats, k=mask.k) for site in sites}
    return {
        name: [
            {site: masks[name][draw] for site, masks in by_site.items()} for draw in range(len(by_site[sites[0]][name]))
        ]
        for name in CONTROLS
    }


def _mask_class(
    mask: MaskCommandOptions,
    lab: Lab,
    controls: MaskingOptions,
    class_id: int,
    advance: Advance,  # noqa: ARG001
) -> MaskedClass:
    masks = _masks(mask, lab, controls, class_id)
    z = lab.latents(class_id, mask.latents)
    images = []
    scores = []
    for site_masks in ({}, *(draws[0] for draws in masks.values())):
        pictures, probabilities = lab.images(class_id, z, masks_at(site_masks))
        images.append(pictures)
        scores.append(probabilities)
    by_name = _changes(mask, lab, class_id, masks)
    return MaskedClass(
        class_id,
        masks,
        torch.stack(images),
        np.stack(scores),
        {name: _effects(values, over_draws=name == "random") for name, values in by_name.items()},
        [
            _effects({effect: values[draw : draw + 1] for effect, values in by_name["random"].items()})
            for draw in range(len(masks.get("random", ())))
        ],
        _gained(by_name) if "random" in by_name else None,
    )


def _changes(
    mask: MaskCommandOptions, lab: Lab, class_id: int, masks: Mapping[str, Sequence[SiteMasks]]
) -> dict[str, dict[str, Array]]:
    """Return the change of each draw and scored latent ``[draws, n]``, by name and effect; positive: the mask hurts."""
    engine = MaskingEngine(lab.generator, lab.evaluator, lab.batch)
    z = lab.latents(class_id, mask.scored_latents)
    every = [site_masks for draws in masks.values() for site_masks in draws]
    if mask.site == ALL_SITES:
        log_scores = engine.everywhere_log_scores(z, class_id, every)
    else:
        log_scores = engine.site_log_scores(z, class_id, mask.site, [site_masks[mask.site] for site_masks in every])
    effects = changes(*log_scores)
    names = [name for name, draws in masks.items() for _ in draws]
    return {name: {effect: values[np.array(names) == name] for effect, values in effects.items()} for name in masks}


def _effects(by_effect: Mapping[str, Array], over_draws: bool = False) -> Effects:
    """Return means and standard errors of changes ``[draws, n]``; errors are over latents, or over draws as well."""
    effects = {}
    for effect, values in by_effect.items():
        effects[effect] = float(values.mean())
        effects[f"{effect}_stderr"] = crossed_standard_error(values) if over_draws else standard_error(values.ravel())
    return effects


def _gained(by_name: Mapping[str, Mapping[str, Array]]) -> Effects:
    """Return the effects of the highest mask minus those of the random mask, paired by latent."""
    paired = {effect: by_name["highest"][effect] - values for effect, values in by_name["random"].items()}
    return _effects(paired, over_draws=True)


def _sheet(mask: MaskCommandOptions, lab: Lab, controls: MaskingOptions, results: Sequence[MaskedClass]) -> Sheet:
    where = "every site" if mask.site == ALL_SITES else f"site {mask.site}"
    share = f"{mask.k} channels" if mask.k else f"{controls.control_fraction:.0%} of the channels"
    what = next(iter(results[0].masks)) if mask.channels else share
    heads = ["masked"] if mask.channels else [f"{name} awareness" if name != "random" else name for name in CONTROLS]
    paired = "; minus random: the difference on the same latents" * (results[0].gained is not None)
    draws = f", for random channels over {len(results[0].draws)} draws, of which the first is shown" * (
        len(results[0].draws) > 1
    )
    return Sheet(
        f"{lab.generator.name}: {what} masked at {where}",
        f"p: probability of the class by {lab.evaluator.name}, in brackets its change by the mask; mean change of p "
        f"over {mask.scored_latents:,} latents{draws}, ± standard error{paired}. Seed {lab.spec.seed}.",
        ("nothing masked", *heads),
        tuple(row for result in results for row in _sheet_rows(lab.generator.class_names[result.class_id], result)),
    )


def _sheet_rows(name: str, result: MaskedClass) -> list[SheetRow]:
    """Return rows of pictures of a class, of mean changes, and of the highest mask's change minus the random one's."""
    rows = []
    for latent in range(result.images.shape[1]):
        before, *after = result.scores[:, latent]
        captions = (probability_in_words(before), *(probability_in_words(score, before) for score in after))
        cells = tuple(
            Cell(as_pixels(result.images[column, latent]), caption, framed=column == 0)
            for column, caption in enumerate(captions)
        )
        rows.append(SheetRow(name if latent == 0 else "", cells, begins_group=latent == 0))
    means = (Cell(None, _change_of_p(effects)) for effects in result.effects.values())
    rows.append(SheetRow("mean change", (Cell(None), *means)))
    if result.gained is not None:
        rows.append(
            SheetRow("minus random", (Cell(None), Cell(None), Cell(None), Cell(None, _change_of_p(result.gained))))
        )
    return rows


def _change_of_p(effects: Effects) -> str:
    """Format the change of p, which has the opposite sign of the table's."""
    return change_in_words(-effects["score_change"], 3, effects["score_change_stderr"])


def _description(mask: MaskCommandOptions, lab: Lab, results: Sequence[MaskedClass]) -> dict[str, Any]:
    return {
        "scores": lab.score_protocol,
        "site": mask.site,
        "scored_latents": mask.scored_latents,
        "classes": [
            {
                "class_id": result.class_id,
                "class": lab.generator.class_names[result.class_id],
                "masks": [_mask_data(result, place, name) for place, name in enumerate(result.masks)],
                "highest_minus_random": result.gained,
                "unmasked_scores": result.scores[0].tolist(),
            }
            for result in results
        ],
    }


def _mask_data(result: MaskedClass, place: int, name: str) -> dict[str, Any]:
    """Describe a mask for the file: the shown channels, and all draws of the random mask."""
    description: dict[str, Any] = {
        "name": name,
        "channels": _channels(result.masks[name][0]),
        "scores": result.scores[place + 1].tolist(),
        **result.effects[name],
    }
    if name == "random":
        pairs = zip(result.masks[name], result.draws, strict=True)
        description["draws"] = [{"channels": _channels(channels), **effects} for channels, effects in pairs]
    return description


def _channels(masks: SiteMasks) -> dict[str, list[int]]:
    return {str(site): list(channels) for site, channels in masks.items()}
