"""``cawa edit``: edit channels over a range of strengths, for several classes and latents, in one sheet."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.edits.editing import TARGETS, channel_deviations
from cawa_core.edits.suggestions import Suggestion
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention
from cawa_core.paths import user_path
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.edits.along import run_edit_along
from workflows.analyses.edits.command import EditCommandOptions
from workflows.analyses.edits.painted import run_painted_edit
from workflows.analyses.edits.regions import region_pixels
from workflows.analyses.edits.work import Choice, candidates, suggestions
from workflows.commands.sheets import (
    Advance,
    as_json,
    computed,
    opened_output,
    probability_in_words,
    provenance,
    require_rows,
)
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

STRENGTHS = {"multiply": (0.0, 1.0, 2.0, 3.0), "add": (-2.0, -1.0, 0.0, 1.0, 2.0), "set": (-2.0, 0.0, 2.0, 4.0)}
"""Default strengths by operation."""
NEUTRAL = {"multiply": 1.0, "add": 0.0, "set": None}
"""Strength at which an operation changes nothing."""
SUGGESTIONS_PER_SHEET = 6
"""Maximum suggestions per sheet."""
LATENTS, SUGGESTED_LATENTS = 3, 1
"""Default pictures per class, and per suggestion."""
DEVIATION_LATENTS = 16
"""Latents over which a channel's standard deviation is computed."""


@dataclasses.dataclass(frozen=True)
class EditResult:
    """Result of ``cawa edit``.

    Attributes:
        storage: folder of ``edit.png`` and ``edit.json``.
        lines: what the command prints.
        suggestions: the best first; empty without ``--suggest``.
    """

    storage: Storage
    lines: tuple[str, ...]
    suggestions: tuple[Suggestion, ...] = ()


@dataclasses.dataclass(frozen=True)
class Region:
    """Part of a picture that is edited.

    Attributes:
        path, sha256: path and digest of its file.
        weights: strength of the edit at each pixel, in [0, 1] ``[image_size, image_size]``.
    """

    path: str
    sha256: str
    weights: Tensor


@dataclasses.dataclass(frozen=True)
class Target:
    """Site, channels and class of one or several rows of pictures."""

    site: int
    channels: tuple[int, ...]
    class_id: int


@dataclasses.dataclass(frozen=True)
class Series:
    """Pictures of a target under edits of several strengths.

    Attributes:
        target: site, channels and class that are edited.
        deviations: standard deviations of its channels; None if the operation does not use them.
        images: edited pictures ``[strengths, latents, C, H, W]``.
        scores: probability of the class in each picture ``[strengths, latents]``.
        unedited: probability of the class in each unedited picture ``[latents]``.
    """

    target: Target
    deviations: tuple[float, ...] | None
    images: Tensor
    scores: NDArray[np.float64]
    unedited: NDArray[np.float64]


def run_edit(edit: EditCommandOptions, spec: AuditSpec, options: RunOptions) -> EditResult:
    """Draw the sheet and write it with the probability of each picture's class.

    Raises:
        InputError: bad input, or the sheet cannot be written; nothing was written.
    """
    if edit.direction:
        storage, lines = run_edit_along(edit, spec, options)
        return EditResult(storage, tuple(lines))
    if edit.labels:
        storage, lines = run_painted_edit(edit, spec, options)
        return EditResult(storage, tuple(lines))
    _check(edit)
    spec = dataclasses.replace(spec, segmenter="")
    edit = dataclasses.replace(edit, strengths=edit.strengths or STRENGTHS[edit.operation])
    spec = dataclasses.replace(spec, classes=edit.classes)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ("evaluator",))
    generator = lab.generator
    classes = lab.class_ids
    region = _region(edit.region, edit.parts, generator.image_size) if edit.region or edit.parts else None
    _check_place(edit, lab)
    latents = edit.latents or (SUGGESTED_LATENTS if edit.suggest else LATENTS)
    require_rows(
        latents, SUGGESTIONS_PER_SHEET if edit.suggest else len(classes), "edits" if edit.suggest else "classes"
    )
    storage = opened_output(edit.output, lab, "edit")
    suggested = _suggestions(lab, edit, classes[0]) if edit.suggest else ()
    targets = [Target(best.site, (best.channel,), classes[0]) for best in suggested[:SUGGESTIONS_PER_SHEET]] or [
        Target(edit.site, edit.channels, class_id) for class_id in classes
    ]
    indices = range(edit.tried_latents, edit.tried_latents + latents) if edit.suggest else range(latents)
    series = computed(
        lab, "editing", targets, lambda target, _: _series(lab, edit, target, indices, region), unit="edits"
    )
    description = _description(lab, edit, series, indices, suggested, region)
    storage.write("edit.png", draw_sheet(_sheet(lab, edit, series)))
    storage.write("edit.json", as_json(provenance(lab, spec, edit) | description))
    return EditResult(storage, tuple(suggestion_lines(suggested)), suggested)


def _check(edit: EditCommandOptions) -> None:
    """Check that options go together, as far as this needs no generator."""
    if not edit.classes:
        raise InputError("classes must name at least one class to edit; see `cawa classes`")
    if not edit.suggest:
        return
    if edit.channels:
        raise InputError("suggest chooses the channels itself; leave out --channels or --suggest")
    if edit.operation != "multiply" or edit.region:
        given = f"operation {edit.operation}" if edit.operation != "multiply" else f"region {edit.region}"
        raise InputError(
            f"suggest multiplies channels everywhere in the picture; got {given}: leave it out, then use it with "
            "the --site and --channels that are suggested"
        )
    if edit.strengths and edit.strengths[-1] == NEUTRAL["multiply"]:
        raise InputError(
            "strengths must end in the factor that --suggest tries; got 1, which changes nothing: give another"
        )


def _check_place(edit: EditCommandOptions, lab: Lab) -> None:
    """Check that the generator has the site and channels, and that suggestions are for one class."""
    sites = lab.generator.sites
    classes = len(lab.class_ids)
    if edit.suggest:
        if edit.site != ALL_SITES:
            lab.generator.require_channels(edit.site, (0,))
        if classes > 1:
            raise InputError(
                f"classes must be one for --suggest, which suggests edits of one class; got {classes}: name one"
            )
        return
    if edit.channels and edit.site == ALL_SITES:
        raise InputError(f"site must be given with channels, in 0..{len(sites) - 1}; see `cawa sites`")
    lab.generator.require_channels(max(0, edit.site), edit.channels)


def _suggestions(lab: Lab, edit: EditCommandOptions, class_id: int) -> tuple[Suggestion, ...]:
    choice = Choice(edit.tried_latents, edit.scored_latents, edit.strengths[-1])
    only = None if edit.site == ALL_SITES else edit.site

    def best(class_id: int, _: Advance) -> list[Suggestion]:
        return suggestions(lab, class_id, candidates(lab, class_id, edit.candidates, only), choice)

    (best_first,) = computed(lab, "trying edits of", [class_id], best, unit="classes")
    return tuple(best_first)


def _series(lab: Lab, edit: EditCommandOptions, target: Target, latents: range, region: Region | None) -> Series:
    class_id = target.class_id
    z = lab.latents(class_id, latents.stop)[latents.start :]
    deviations = None if edit.operation == "multiply" else _deviations(lab, target)
    weights = region.weights if region else None
    pictures = []
    scores = []
    for strength in edit.strengths:
        edits = [
            Intervention(target.site, (channel,), TARGETS[edit.operation](strength * unit), region=weights)
            for channel, unit in zip(target.channels, deviations or (1.0,) * len(target.channels), strict=True)
        ]
        images, probabilities = lab.images(class_id, z, edits)
        pictures.append(images)
        scores.append(probabilities)
    unedited = lab.images(class_id, z)[1]
    return Series(target, deviations, torch.stack(pictures), np.stack(scores), unedited)


def _deviations(lab: Lab, target: Target) -> tuple[float, ...]:
    z = lab.latents(target.class_id, DEVIATION_LATENTS)
    ids = class_ids_of(target.class_id, z)
    every = channel_deviations(lab.generator, z, ids, target.site, lab.batch_size)
    return tuple(every[list(target.channels)].tolist())


def suggestion_lines(suggested: Sequence[Suggestion]) -> list[str]:
    """Format suggestions as a table."""
    if not suggested:
        return []
    lines = [
        f"{best.site:4} {best.channel:8} {best.change:7.4f} {best.locality:9.2f} {best.kept:6.2f} {best.merit:8.4f} ± "
        f"{best.merit_stderr:.4f}"
        for best in suggested
    ]
    note = f"best first by the latents that chose; means over {suggested[0].n_samples} held-out ones, ± standard error"
    return ["site  channel  change  locality   kept    merit", *lines, note]


def _region(path: str, parts: Sequence[int], side: int) -> Region:
    """Load a picture as weights ``[side, side]`` of its pixels, see :func:`region_pixels`."""
    pixels = region_pixels(path, parts)
    content = user_path(path).read_bytes()
    if pixels.shape != (side, side):
        raise InputError(
            f"region must be as large as the pictures, {side} x {side} pixels; {path} has "
            f"{pixels.shape[1]} x {pixels.shape[0]}: resize it"
        )
    return Region(path, hashlib.sha256(content).hexdigest(), torch.from_numpy(pixels.copy()))


def _sheet(lab: Lab, edit: EditCommandOptions, series: Sequence[Series]) -> Sheet:
    names = lab.generator.class_names
    neutral = NEUTRAL[edit.operation]
    rows = [
        SheetRow(
            _label(edit, entry.target, names[entry.target.class_id], latent),
            tuple(
                Cell(
                    as_pixels(entry.images[step, latent]),
                    probability_in_words(
                        entry.scores[step, latent], None if strength == neutral else entry.unedited[latent]
                    ),
                    framed=strength == neutral,
                )
                for step, strength in enumerate(edit.strengths)
            ),
            begins_group=latent == 0,
        )
        for entry in series
        for latent in range(entry.images.shape[1])
    ]
    first = series[0].target
    what = f"edits of {names[first.class_id]}" if edit.suggest else f"{_channels(first.channels)} at site {first.site}"
    return Sheet(
        f"{lab.generator.name}: {what}",
        f"p: probability of the class by {lab.evaluator.name}, in brackets its change by the edit."
        + ("" if neutral not in edit.strengths else " Framed: unedited.")
        + " The latents of these pictures were not used to choose the edits." * edit.suggest
        + f" Seed {lab.spec.seed}.",
        tuple(_heading(edit, strength) for strength in edit.strengths),
        tuple(rows),
    )


def _label(edit: EditCommandOptions, target: Target, name: str, latent: int) -> str:
    if latent:
        return ""
    return f"site {target.site}\nchannel {target.channels[0]}" if edit.suggest else name


def _channels(channels: Sequence[int]) -> str:
    return f"channel{'s' * (len(channels) > 1)} {', '.join(map(str, channels))}"


def _heading(edit: EditCommandOptions, strength: float) -> str:
    return {
        "multiply": f"× {strength:g}",
        "add": f"{strength:+g} σ" if strength else "+0",
        "set": f"= {strength:g} σ" if strength else "= 0",
    }[edit.operation].replace("-", "−")


def _description(
    lab: Lab,
    edit: EditCommandOptions,
    series: Sequence[Series],
    indices: range,
    suggested: Sequence[Suggestion],
    region: Region | None,
) -> dict[str, Any]:
    return {
        "scores": lab.score_protocol,
        "operation": edit.operation,
        "region": region and {"path": region.path, "sha256": region.sha256, "parts": edit.parts},
        "latents": list(indices),
        "edits": [
            {
                **dataclasses.asdict(entry.target),
                "class": lab.generator.class_names[entry.target.class_id],
                "deviations": entry.deviations,
                "strengths": edit.strengths,
                "scores": entry.scores.tolist(),
                "unedited_scores": entry.unedited.tolist(),
            }
            for entry in series
        ],
        "suggestions": [
            {**dataclasses.asdict(best), "factor": edit.strengths[-1], "n_tried": edit.tried_latents}
            for best in suggested
        ],
    }
