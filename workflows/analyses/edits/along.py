"""``cawa edit --direction``: images moved along a direction of the latent code and the class embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.directions.direction import Direction
from cawa_core.directions.files import DirectionFile, read_direction
from cawa_core.directions.manipulation import moved_images
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.latents.dimensions import DimensionUnits
from cawa_core.masking.engine import log_scores
from cawa_core.paths import user_path
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage, StorageError, open_storage
from workflows.analyses.edits.command import EditCommandOptions
from workflows.commands.sheets import (
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

STRENGTHS = (-4.0, -2.0, 0.0, 2.0, 4.0)
"""Default lengths of steps."""
HONOURED = ("classes", "direction", "strengths", "latents", "output")
"""Options that go with a direction."""
LATENTS = 3
"""Default images per class."""


@dataclasses.dataclass(frozen=True)
class MovedImages:
    """Images of a class after steps along a direction.

    Attributes:
        images: ``[strengths, n, C, S, S]``.
        scores: probability of the class ``[strengths, n]``.
        unmoved: probability of the class before any step ``[n]``.
    """

    images: Tensor
    scores: NDArray[np.float64]
    unmoved: NDArray[np.float64]


def run_edit_along(edit: EditCommandOptions, spec: AuditSpec, options: RunOptions) -> tuple[Storage, list[str]]:
    """Move images along a direction, and draw them on a sheet; return its folder and what the command prints.

    Raises:
        InputError: bad input; nothing was written.
    """
    _check(edit)
    spec = dataclasses.replace(spec, segmenter="", classes=edit.classes)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ("evaluator",))
    file = read_file(edit.direction, lab)
    strengths = edit.strengths or STRENGTHS
    latents = edit.latents or LATENTS
    require_rows(latents, len(lab.class_ids), "classes")
    storage = opened_output(edit.output, lab, "edit")
    moved = computed(
        lab,
        "moving",
        lab.class_ids,
        lambda class_id, _: moved_along(lab, file.direction, class_id, lab.latents(class_id, latents), strengths),
        unit="classes",
    )
    names = lab.generator.class_names
    rows = [
        row
        for class_id, each in zip(lab.class_ids, moved, strict=True)
        for row in rows_of_images(names[class_id], each, strengths)
    ]
    sheet = Sheet(
        f"{lab.generator.name}: {file.name or edit.direction}",
        f"{sheet_note(lab)} {file.method}.",
        tuple(heading(strength) for strength in strengths),
        tuple(rows),
    )
    storage.write("edit.png", draw_sheet(sheet))
    described = {
        "scores": lab.score_protocol,
        "direction": {"name": file.name, "method": file.method, "dimensions": file.direction.dimensions},
        "strengths": strengths,
        "edits": [
            {"class_id": class_id, "scores": each.scores.tolist(), "unedited_scores": each.unmoved.tolist()}
            for class_id, each in zip(lab.class_ids, moved, strict=True)
        ],
    }
    storage.write("edit.json", as_json(provenance(lab, spec, edit) | described))
    return storage, []


def read_file(path: str, lab: Lab) -> DirectionFile:
    """Read a direction of the lab's generator.

    Raises:
        InputError: the file cannot be read, or is no direction of the generator.
    """
    folder, _, name = path.rpartition("/")
    try:
        content = open_storage(folder).read(name) if "://" in path else user_path(path).read_bytes()
    except (OSError, StorageError) as error:
        raise InputError(f"direction {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return read_direction(path, content, lab.generator)


@torch.inference_mode()
def moved_along(lab: Lab, direction: Direction, class_id: int, z: Tensor, strengths: Sequence[float]) -> MovedImages:
    """Move the images of some latents ``[n, z_dim]`` of a class along a direction."""
    units = DimensionUnits.of(lab.generator)
    steps = [(direction, strength) for strength in (0.0, *strengths)]
    images, scores = [], []
    for _, batch in moved_images(lab.generator, z, class_ids_of(class_id, z), steps, units, lab.batch_size):
        images.append(batch.cpu())
        scores.append(log_scores(lab.evaluator, batch, class_id).exp().cpu())
    by_step = torch.cat(scores).reshape(len(steps), len(z)).numpy()
    pictures = torch.cat(images).unflatten(0, (len(steps), len(z)))
    return MovedImages(pictures[1:], by_step[1:], by_step[0])


def rows_of_images(label: str, moved: MovedImages, strengths: Sequence[float]) -> list[SheetRow]:
    """Return a row of a sheet for each latent, with a column per strength."""
    return [
        SheetRow(
            "" if latent else label,
            tuple(
                Cell(
                    as_pixels(moved.images[step, latent]),
                    probability_in_words(moved.scores[step, latent], None if strength == 0 else moved.unmoved[latent]),
                    framed=strength == 0,
                )
                for step, strength in enumerate(strengths)
            ),
            begins_group=latent == 0,
        )
        for latent in range(moved.images.shape[1])
    ]


def heading(strength: float) -> str:
    """Return the heading of a column."""
    return f"{strength:+g} σ".replace("-", "−") if strength else "0"


def sheet_note(lab: Lab) -> str:
    """Explain captions and columns."""
    return (
        f"p: probability of the class by {lab.evaluator.name}, in brackets its change. Columns: length of the step in "
        f"standard deviations. Seed {lab.spec.seed}."
    )


def _check(edit: EditCommandOptions) -> None:
    """Check that options go together, as far as this needs no generator."""
    defaults = EditCommandOptions()
    for field in dataclasses.fields(edit):
        if field.name not in HONOURED and getattr(edit, field.name) != getattr(defaults, field.name):
            raise InputError(
                f"{field.name} does not go with direction, which moves whole images; leave out "
                f"--{field.name.replace('_', '-')}"
            )
    if not edit.classes:
        raise InputError("classes must name at least one class to edit; see `cawa classes`")
