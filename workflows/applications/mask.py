"""``cawa mask``: channels of lowest, random and highest awareness set to zero, side by side (paper, Fig. 3)."""

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
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import SiteMasks, masks_at, run
from cawa_core.masking.effects import changes
from cawa_core.masking.engine import MaskingEngine
from cawa_core.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.schemas import ALL_SITES
from cawa_core.specs import AuditSpec
from cawa_core.statistics.standard_errors import crossed_standard_error, standard_error
from cawa_core.storage import Storage
from workflows.applications.options import MaskSpec
from workflows.applications.sheets import (
    as_json,
    change_in_words,
    computed,
    opened_output,
    probability_in_words,
    provenance,
    require_rows,
)
from workflows.config import RunOptions
from workflows.pictures import scored_pictures
from workflows.stages.masking import site_controls
from workflows.workbench import Workbench

SHOWN = ("lowest", "random", "highest")
Array = NDArray[np.float64]
Effects = dict[str, float]
"""Columns of the ``masking`` table, of one mask or over several draws."""


@dataclasses.dataclass(frozen=True)
class MaskedClass:
    """What masking did to one class.

    Attributes:
        class_id: which.
        masks: by name, channels at each site: one mask, or the draws of the random one, of which the first is shown.
        images: without and with each shown mask ``[1 + names, latents, C, H, W]``.
        scores: probability of the class in each ``[1 + names, latents]``.
        effects: by name, over all scored latents, and over all draws of the random mask.
        draws: of the random mask, each draw's own.
        gained: the highest mask's effects less the random one's on the same latents; None for chosen channels.
    """

    class_id: int
    masks: Mapping[str, Sequence[SiteMasks]]
    images: Tensor
    scores: Array
    effects: Mapping[str, Effects]
    draws: Sequence[Effects]
    gained: Effects | None


def run_mask(mask: MaskSpec, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet, and write it with the change of every score; gives where.

    Raises:
        InputError: bad input, or no place for the sheet; nothing was written.
    """
    if not mask.classes:
        raise InputError("classes must name at least one class to mask; see `cawa classes`")
    spec = dataclasses.replace(spec, classes=mask.classes, stages=("masking",))
    bench = Workbench.build(spec, options.with_absolute_paths())
    _check(mask, bench)
    storage = opened_output(mask.output, bench, "mask")
    found = computed(bench, "masking", bench.class_ids, lambda one, _: _masked(mask, bench, one), unit="classes")
    storage.write("mask.png", draw_sheet(_sheet(mask, bench, found)))
    storage.write("mask.json", as_json(_description(mask, bench, found)))
    return storage


def _check(mask: MaskSpec, bench: Workbench) -> None:
    sites, classes = bench.generator.sites, len(bench.spec.classes)
    if mask.channels and mask.site == ALL_SITES:
        raise InputError(f"site must be given with channels, in 0..{len(sites) - 1}; see `cawa sites`")
    if mask.channels and mask.k:
        raise InputError(f"k is how many channels are chosen by awareness; got {mask.k} beside channels: leave out one")
    if mask.channels or mask.site != ALL_SITES:
        bench.generator.require_channels(mask.site, mask.channels or (0,))
    most = min(site.channels - len(site.inert_channels) for site in (sites if mask.site < 0 else [sites[mask.site]]))
    if mask.k > most:
        raise InputError(f"k must be at most {most}, the channels of the smallest site that is masked; got {mask.k}")
    require_rows(mask.latents, classes, "classes")


def _masks(mask: MaskSpec, bench: Workbench, class_id: int) -> dict[str, list[SiteMasks]]:
    """By name, one mask or the draws of the random one: those of an audit."""
    if mask.channels:
        return {f"channels {', '.join(map(str, mask.channels))}": [{mask.site: mask.channels}]}
    sites = [mask.site] if mask.site != ALL_SITES else [site.index for site in bench.generator.sites]
    by_site = {site: site_controls(bench, class_id, site, mask.k) for site in sites}
    return {
        name: [
            {site: controls[name][draw] for site, controls in by_site.items()}
            for draw in range(len(by_site[sites[0]][name]))
        ]
        for name in SHOWN
    }


def _masked(mask: MaskSpec, bench: Workbench, class_id: int) -> MaskedClass:
    masks, z = _masks(mask, bench, class_id), bench.latents(class_id, mask.latents)

    def masked(rows: Tensor, shown: SiteMasks) -> Tensor:
        return run(bench.generator, rows, class_ids_of(class_id, rows), masks_at(shown))

    images, scores = [], []
    for shown in ({}, *(draws[0] for draws in masks.values())):
        drawn, likely = scored_pictures(bench, class_id, z, functools.partial(masked, shown=shown))
        images.append(drawn)
        scores.append(likely)
    by_name = _changes(mask, bench, class_id, masks)
    return MaskedClass(
        class_id,
        masks,
        torch.stack(images),
        np.stack(scores),
        {name: _effects(own, over_draws=name == "random") for name, own in by_name.items()},
        [
            _effects({effect: values[draw : draw + 1] for effect, values in by_name["random"].items()})
            for draw in range(len(masks.get("random", ())))
        ],
        _gained(by_name) if "random" in by_name else None,
    )


def _changes(
    mask: MaskSpec, bench: Workbench, class_id: int, masks: Mapping[str, Sequence[SiteMasks]]
) -> dict[str, dict[str, Array]]:
    """By name and effect, the change of each draw and scored latent ``[draws, n]``; positive: the mask hurts."""
    engine = MaskingEngine(bench.generator, bench.evaluator, bench.batch)
    z, every = bench.latents(class_id, mask.scored_latents), [one for draws in masks.values() for one in draws]
    if mask.site == ALL_SITES:
        both = engine.everywhere_log_scores(z, class_id, every)
    else:
        both = engine.site_log_scores(z, class_id, mask.site, [one[mask.site] for one in every])
    found, names = changes(*both), [name for name, draws in masks.items() for _ in draws]
    return {name: {effect: values[np.array(names) == name] for effect, values in found.items()} for name in masks}


def _effects(own: Mapping[str, Array], over_draws: bool = False) -> Effects:
    """Means and standard errors of changes ``[draws, n]``, over latents alone or, as it is asked, over draws, too."""
    found = {}
    for effect, values in own.items():
        found[effect] = float(values.mean())
        found[f"{effect}_stderr"] = crossed_standard_error(values) if over_draws else standard_error(values.ravel())
    return found


def _gained(by_name: Mapping[str, Mapping[str, Array]]) -> Effects:
    """The highest mask's effects less the random one's, latent by latent."""
    paired = {effect: by_name["highest"][effect] - values for effect, values in by_name["random"].items()}
    return _effects(paired, over_draws=True)


def _sheet(mask: MaskSpec, bench: Workbench, found: Sequence[MaskedClass]) -> Sheet:
    where = "every site" if mask.site == ALL_SITES else f"site {mask.site}"
    share = f"{mask.k} channels" if mask.k else f"{bench.spec.control_fraction:.0%} of the channels"
    what = next(iter(found[0].masks)) if mask.channels else share
    heads = ["masked"] if mask.channels else [f"{name} awareness" if name != "random" else name for name in SHOWN]
    paired = "; less random: the difference on the same latents" * (found[0].gained is not None)
    draws = f", for random channels over {len(found[0].draws)} draws, of which the first is shown" * (
        len(found[0].draws) > 1
    )
    return Sheet(
        f"{bench.generator.name}: {what} masked at {where}",
        f"p: probability of the class by {bench.evaluator.name}, in brackets its change by the mask; mean change of p "
        f"over {mask.scored_latents:,} latents{draws}, ± standard error{paired}. Seed {bench.spec.seed}.",
        ("nothing masked", *heads),
        tuple(row for one in found for row in _sheet_rows(bench.generator.class_names[one.class_id], one)),
    )


def _sheet_rows(name: str, one: MaskedClass) -> list[SheetRow]:
    """Pictures of a class, the mean change under each mask, and what the highest changes beyond the random one."""
    rows = []
    for latent in range(one.images.shape[1]):
        before, *after = one.scores[:, latent]
        captions = (probability_in_words(before), *(probability_in_words(score, before) for score in after))
        cells = tuple(
            Cell(as_pixels(one.images[column, latent]), caption, framed=column == 0)
            for column, caption in enumerate(captions)
        )
        rows.append(SheetRow(name if latent == 0 else "", cells, begins_group=latent == 0))
    means = (Cell(None, _lost(effects)) for effects in one.effects.values())
    rows.append(SheetRow("mean change", (Cell(None), *means)))
    if one.gained is not None:
        rows.append(SheetRow("less random", (Cell(None), Cell(None), Cell(None), Cell(None, _lost(one.gained)))))
    return rows


def _lost(effects: Effects) -> str:
    """The change of p, which is the table's with the other sign."""
    return change_in_words(-effects["score_change"], 3, effects["score_change_stderr"])


def _description(mask: MaskSpec, bench: Workbench, found: Sequence[MaskedClass]) -> dict[str, Any]:
    return {
        **provenance(bench, mask),
        "scores": bench.score_protocol,
        "site": mask.site,
        "scored_latents": mask.scored_latents,
        "classes": [
            {
                "class_id": one.class_id,
                "class": bench.generator.class_names[one.class_id],
                "masks": [_mask_data(one, place, name) for place, name in enumerate(one.masks)],
                "highest_minus_random": one.gained,
                "unmasked_scores": one.scores[0].tolist(),
            }
            for one in found
        ],
    }


def _mask_data(one: MaskedClass, place: int, name: str) -> dict[str, Any]:
    """A mask for the file: the channels that are shown, and all draws of the random one."""
    found = {
        "name": name,
        "channels": _channels(one.masks[name][0]),
        "scores": one.scores[place + 1].tolist(),
        **one.effects[name],
    }
    if name == "random":
        pairs = zip(one.masks[name], one.draws, strict=True)
        found["draws"] = [{"channels": _channels(channels), **effects} for channels, effects in pairs]
    return found


def _channels(masks: SiteMasks) -> dict[str, list[int]]:
    return {str(site): list(channels) for site, channels in masks.items()}
