"""``cawa annotate``: a folder of generated images to paint label maps for, and the check of a painted one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from cawa_core.annotations import Annotations, read_annotations, require_colours, write_annotations
from cawa_core.errors import InputError, bounded, counted, listed
from cawa_core.generators.base import spread_classes
from cawa_core.labels import NOTHING
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.rendering.label_colours import label_colours
from cawa_core.rendering.pixels import to_png
from cawa_core.segmenters.base import NO_CONCEPT
from cawa_core.storage import open_storage
from workflows.lab import Lab
from workflows.options.annotate import AnnotateOptions
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

FIRST_LATENT = 5 * 10**6
"""Index of the first latent; no analysis sees these images."""


def annotate(command: AnnotateOptions, spec: AuditSpec, options: RunOptions) -> list[str]:
    """Write a folder to paint in, or check one; return what the command prints.

    Raises:
        InputError: bad input, or a painted folder that does not fit the generator; nothing was written.
    """
    if command.check and (command.concepts or command.output):
        given = "concepts" if command.concepts else "output"
        raise InputError(f"{given} does not go with check, which writes nothing; leave out --{given} or --check")
    spec = dataclasses.replace(spec, classes=command.classes, segmenter="")
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ())
    return _checked(command.check, lab) if command.check else _written(command, lab)


def _written(command: AnnotateOptions, lab: Lab) -> list[str]:
    """Write latents, images, empty label maps and colours."""
    if not command.concepts:
        raise InputError("concepts must name what to paint, such as --concepts door,window; got none")
    if len(set(command.concepts)) < len(command.concepts):
        repeated = next(name for name in command.concepts if command.concepts.count(name) > 1)
        raise InputError(f"concepts must be different names; got {bounded(repeated)} twice")
    if NOTHING in command.concepts:
        raise InputError(f"concepts must not name {NOTHING!r}, which is what a pixel without a concept shows")
    colours = {
        name: (int(red), int(green), int(blue))
        for name, (red, green, blue) in zip(command.concepts, label_colours(len(command.concepts)), strict=True)
    }
    require_colours(colours)
    generator, count = lab.generator, command.images
    z = generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(FIRST_LATENT, FIRST_LATENT + count))
    class_ids = torch.tensor(lab.class_ids, device=z.device)[spread_classes(count, len(lab.class_ids), z.device)]
    side = generator.image_size
    empty = torch.full((count, side, side), NO_CONCEPT)
    folder = command.output or Path("results") / f"{generator.name}-annotations"
    write_annotations(folder, Annotations(z, class_ids, empty, colours), generator)
    storage = open_storage(folder)
    with torch.inference_mode():
        for place in range(count):
            image = generator(z[place : place + 1], class_ids[place : place + 1])[0]
            storage.write(f"image-{place:03d}.png", to_png(image))
    lines = [f"{name:>20}  #{bytes(colour).hex()}  {list(colour)}" for name, colour in colours.items()]
    return [
        f"{counted(count, 'image')} of {generator.name} in {storage.path('')}",
        "paint what image-000.png shows into 000.png, which is black, and so on, with hard edges and these colours:",
        *lines,
        f"then run: cawa annotate --generator {generator.name} --check {storage.path('')}",
    ]


def _checked(folder: str, lab: Lab) -> list[str]:
    """Read a painted folder, and count what its label maps show."""
    annotations = read_annotations(folder, lab.generator)
    areas = annotations.areas()
    if not areas.any():
        raise InputError(f"check: the label maps of {folder} show none of {listed(annotations.concepts)}; paint them")
    pixels = len(areas) * lab.generator.image_size**2
    shown_in = (areas > 0).sum(axis=0)
    shares = areas.sum(axis=0) / pixels
    lines = [
        f"{name:>20}  in {counted(int(shown_in[place]), 'image')}, {shares[place]:.1%} of all pixels"
        for place, name in enumerate(annotations.concepts)
    ]
    unpainted = _places((areas.sum(axis=1) == 0).nonzero()[0].tolist())
    remark = [f"warning: no concept in {unpainted}"] if unpainted else []
    return [*lines, *remark, f"{counted(len(areas), 'label map')} of {lab.generator.name}: read without faults"]


def _places(places: Sequence[int]) -> str:
    return ", ".join(f"{place:03d}.png" for place in places)
