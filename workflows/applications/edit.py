"""``cawa edit``: some channels changed over a range of strengths, for several classes and latents, in one sheet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.applications.editing import ChannelEdit, channel_deviations, check_channels, edited_images
from cawa_core.applications.suggestions import FACTOR, Suggestion
from cawa_core.errors import InputError
from cawa_core.masking.engine import class_ids_of, log_scores
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, as_pixels, draw_sheet
from cawa_core.specs import AuditSpec
from cawa_core.storage import Storage, open_storage
from workflows.applications.options import EditSpec
from workflows.applications.regions import region_pixels
from workflows.applications.sheets import as_json, provenance, require_rows
from workflows.config import RunOptions
from workflows.stages.edits import candidates, suggestions
from workflows.workbench import Workbench

STRENGTHS = {"multiply": (0.0, 1.0, 2.0, 3.0), "add": (-2.0, -1.0, 0.0, 1.0, 2.0), "set": (-2.0, 0.0, 2.0, 4.0)}
"""Where none are given."""
NEUTRAL = {"multiply": 1.0, "add": 0.0, "set": None}
"""Strength that changes nothing."""
SHOWN = 6
"""Suggestions on a sheet."""
DEVIATION_LATENTS = 16
"""Latents that a channel's standard deviation is taken over."""


@dataclasses.dataclass(frozen=True)
class EditResult:
    """What an edit wrote.

    Attributes:
        storage: where ``edit.png`` and ``edit.json`` are.
        suggestions: the best first; empty where none were asked for.
    """

    storage: Storage
    suggestions: tuple[Suggestion, ...]


def run_edit(edit: EditSpec, spec: AuditSpec, options: RunOptions) -> EditResult:
    """Draw the sheet, and write it with the probability of each picture's class.

    Raises:
        InputError: bad input; nothing was written.
    """
    if not edit.classes:
        raise InputError("classes must name at least one class to edit; see `cawa classes`")
    spec = dataclasses.replace(spec, classes=edit.classes, stages=("edits",))
    bench = Workbench.build(spec, options.with_absolute_paths())
    generator, classes = bench.generator, tuple(one for one in bench.spec.classes if isinstance(one, int))
    region = _region(edit.region, edit.parts, generator.image_size) if edit.region or edit.parts else None
    if edit.suggest and edit.channels:
        raise InputError("suggest tries channels by itself; leave out --channels or --suggest")
    if not edit.suggest:
        check_channels(generator, edit.site, edit.channels)
    found: tuple[Suggestion, ...] = ()
    if edit.suggest:
        if len(classes) > 1:
            raise InputError(f"classes must be one for --suggest, whose edits are of one class; got {len(classes)}")
        with bench.arithmetic():
            tried = candidates(bench, classes[0], edit.candidates)
            found = tuple(suggestions(bench, classes[0], tried, edit.latents))
    chosen = [(one.site, (one.channel,)) for one in found[:SHOWN]] or [(edit.site, edit.channels)]
    latents = range(1) if edit.suggest else range(edit.latents)
    require_rows(len(latents), len(chosen) * len(classes), "classes")
    with bench.arithmetic():
        series = [
            _series(bench, edit, site, channels, class_id, len(latents), region)
            for site, channels in chosen
            for class_id in classes
        ]
    storage = open_storage(edit.output or Path("results") / f"{generator.name}-edit")
    storage.write("edit.png", draw_sheet(_sheet(bench, edit, series)))
    storage.write("edit.json", as_json(_description(bench, edit, series, found)))
    return EditResult(storage, found)


@dataclasses.dataclass(frozen=True)
class Series:
    """Pictures of one class under one edit of rising strength: images ``[strengths, latents, C, H, W]``, and scores."""

    site: int
    channels: tuple[int, ...]
    class_id: int
    strengths: tuple[float, ...]
    deviations: tuple[float, ...]
    images: Tensor
    scores: np.ndarray


def _series(
    bench: Workbench,
    edit: EditSpec,
    site: int,
    channels: tuple[int, ...],
    class_id: int,
    latents: int,
    region: Tensor | None,
) -> Series:
    generator, strengths = bench.generator, edit.strengths or STRENGTHS[edit.operation]
    wide, z = bench.latents(class_id, DEVIATION_LATENTS), bench.latents(class_id, latents)
    deviations = channel_deviations(generator, wide, class_ids_of(class_id, wide), site)[list(channels)].tolist()
    pictures, scores = [], []
    for strength in strengths:
        units = deviations if edit.operation != "multiply" else [1.0] * len(channels)
        edits = [
            ChannelEdit(site, (channel,), edit.operation, strength * unit, region)
            for channel, unit in zip(channels, units, strict=True)
        ]
        pictures.append(edited_images(generator, z, class_ids_of(class_id, z), edits))
        scores.append(log_scores(bench.evaluator, pictures[-1], class_id).exp().tolist())
    return Series(site, channels, class_id, strengths, tuple(deviations), torch.stack(pictures), np.array(scores))


def suggestion_lines(found: Sequence[Suggestion]) -> list[str]:
    """The best ten as a table."""
    lines = [
        f"{one.site:4} {one.channel:8} {one.change:7.4f} {one.locality:9.2f} {one.kept:6.2f}" for one in found[:10]
    ]
    return ["site  channel  change  locality   kept", *lines] if lines else []


def _region(path: str, parts: Sequence[int], side: int) -> Tensor:
    """A picture as weights ``[side, side]`` of its pixels, see :func:`region_pixels`."""
    pixels = region_pixels(path, parts)
    if pixels.shape != (side, side):
        raise InputError(
            f"region must be as large as the pictures, {side} x {side} pixels; {path} has "
            f"{pixels.shape[1]} x {pixels.shape[0]}"
        )
    return torch.from_numpy(pixels.copy())


def _sheet(bench: Workbench, edit: EditSpec, series: Sequence[Series]) -> Sheet:
    names, neutral = bench.generator.class_names, NEUTRAL[edit.operation]
    rows = [
        SheetRow(
            _label(edit, one, names[one.class_id], latent),
            tuple(
                Cell(
                    as_pixels(one.images[step, latent]),
                    f"p = {one.scores[step, latent]:.2f}",
                    framed=strength == neutral,
                )
                for step, strength in enumerate(one.strengths)
            ),
            begins_group=latent == 0,
        )
        for one in series
        for latent in range(one.images.shape[1])
    ]
    first = series[0]
    what = f"edits of {names[first.class_id]}" if edit.suggest else f"{_channels(first.channels)} at site {first.site}"
    return Sheet(
        f"{bench.generator.name}: {what}",
        f"p: probability of the class by {bench.evaluator.name}."
        + ("" if neutral is None else " Framed: nothing changed.")
        + (f" Seed {bench.spec.seed}."),
        tuple(_heading(edit, strength) for strength in series[0].strengths),
        tuple(rows),
    )


def _label(edit: EditSpec, one: Series, name: str, latent: int) -> str:
    if edit.suggest:
        return f"site {one.site}\nchannel {one.channels[0]}"
    return name if latent == 0 else ""


def _channels(channels: Sequence[int]) -> str:
    return f"channel{'s' * (len(channels) > 1)} {', '.join(map(str, channels))}"


def _heading(edit: EditSpec, strength: float) -> str:
    return {
        "multiply": f"× {strength:g}",
        "add": f"{strength:+g} σ" if strength else "+0",
        "set": f"= {strength:g} σ" if strength else "= 0",
    }[edit.operation].replace("-", "−")


def _description(
    bench: Workbench, edit: EditSpec, series: Sequence[Series], found: Sequence[Suggestion]
) -> dict[str, Any]:
    return {
        **provenance(bench),
        "scores": bench.score_protocol,
        "operation": edit.operation,
        "region": edit.region,
        "parts": edit.parts,
        "edits": [
            {
                "site": one.site,
                "channels": one.channels,
                "class_id": one.class_id,
                "class": bench.generator.class_names[one.class_id],
                "deviations": one.deviations,
                "strengths": one.strengths,
                "scores": one.scores.tolist(),
            }
            for one in series
        ],
        "suggestions": [dataclasses.asdict(one) | {"merit": one.merit, "factor": FACTOR} for one in found],
    }
