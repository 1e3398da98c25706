"""``cawa dissect``: the units of highest overlap with a concept, and images without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.dissection.activations import enlarged
from cawa_core.dissection.counts import IMAGES_PERMUTED, intersection_over_union
from cawa_core.dissection.dissect import SiteThresholds, UnitOverlaps, choose_thresholds, unit_overlaps
from cawa_core.dissection.removal import Areas, Unit, areas_without, share_left
from cawa_core.errors import InputError, bounded, suggestion
from cawa_core.generators.base import class_ids_of
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.options import require_distinct
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.segmenters.base import concept_masks
from cawa_core.storage import Storage
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.work import spread_over_classes
from workflows.commands.sheets import Advance, as_json, computed, opened_output, provenance
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

DIMMED = 0.3
"""Brightness of pixels where a unit is off."""
WITHOUT = "none"
"""Name of the empty set of removed units."""


@dataclasses.dataclass(frozen=True)
class ConceptUnit:
    """A unit and its overlap with the concept.

    Attributes:
        unit: site and channel.
        threshold: the unit is on where its features exceed it.
        iou, iou_by_chance: overlap, and that with the label maps of other images.
        score: standard deviations by which the overlap exceeds that by chance.
    """

    unit: Unit
    threshold: float
    iou: float
    iou_by_chance: float
    score: float


@dataclasses.dataclass(frozen=True)
class Removal:
    """Removal of some numbers of units.

    Attributes:
        areas: pixels of each concept in each image ``[n, concepts]`` by the name of the set.
        images: the images by the name of the set.
        sets: units of each set.
    """

    areas: Mapping[str, Areas]
    images: Mapping[str, Tensor]
    sets: Mapping[str, Sequence[Unit]]


def run_dissect(dissect: DissectCommandOptions, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet and write it with the units and areas as JSON; return where.

    Raises:
        InputError: bad input; nothing was written.
    """
    require_distinct(dissect)
    spec = dataclasses.replace(spec, classes=dissect.classes)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ("segmenter",))
    concept = _concept(dissect, lab)
    sites = dissect.sites or tuple(range(len(lab.generator.sites)))
    lab.generator.require_sites(sites)
    storage = opened_output(dissect.output, lab, "units")
    z, class_ids = _latents(lab, dissect.images)

    def compute(_: object, advance: Advance) -> tuple[list[SiteThresholds], list[UnitOverlaps]]:
        batch = min(lab.batch_size, IMAGES_PERMUTED)
        other = lab.generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(dissect.threshold_images))
        spread = spread_over_classes(lab, dissect.threshold_images)
        models = (lab.generator, lab.segmenter)
        thresholds = choose_thresholds(*models, other, spread, sorted(sites), batch_size=batch, progress=advance)
        return thresholds, unit_overlaps(*models, z, class_ids, thresholds, batch_size=batch, progress=advance)

    work = 2 * dissect.threshold_images + dissect.images
    ((thresholds, overlaps),) = computed(lab, "dissecting", [None], compute, work)
    units = _ranked(thresholds, overlaps, concept)
    if not units:
        raise InputError(
            f"concept {dissect.concept!r} is in none of {dissect.images} images of {lab.generator.name}; give other "
            "--classes, or more --images"
        )
    removal = _removal(dissect, lab, units, z, class_ids)
    storage.write("units.png", draw_sheet(_sheet(dissect, lab, units, removal, z, class_ids, concept)))
    description = _description(dissect, lab, units, removal, concept)
    storage.write("units.json", as_json(provenance(lab, spec, dissect) | description))
    return storage


def _concept(dissect: DissectCommandOptions, lab: Lab) -> int:
    """Return the index of the concept among those of the segmenter."""
    concepts = lab.segmenter.concepts
    if dissect.concept not in concepts:
        raise InputError(
            f"concept must be one of {', '.join(concepts)}; got {bounded(dissect.concept)}"
            f"{suggestion(dissect.concept, concepts)}"
        )
    return concepts.index(dissect.concept)


def _latents(lab: Lab, count: int) -> tuple[Tensor, Tensor]:
    """Return latents of the classes in turn, those of a class together, and their classes."""
    each = [len(range(place, count, len(lab.class_ids))) for place in range(len(lab.class_ids))]
    latents = [lab.latents(class_id, number) for class_id, number in zip(lab.class_ids, each, strict=True)]
    return torch.cat(latents), torch.cat(
        [class_ids_of(class_id, rows) for class_id, rows in zip(lab.class_ids, latents, strict=True)]
    )


def _ranked(thresholds: Sequence[SiteThresholds], overlaps: Sequence[UnitOverlaps], concept: int) -> list[ConceptUnit]:
    """Rank the units that exceed chance by their overlap with the concept, the highest first."""
    units = []
    for site, counted in zip(thresholds, overlaps, strict=True):
        on, both, present = counted.on[:, concept], counted.both[:, concept], counted.present[concept]
        if not present:
            return []
        chance, deviation = counted.chance.mean[:, concept], np.sqrt(counted.chance.variance[:, concept])
        overlap = intersection_over_union(on, np.full_like(on, present), both)
        by_chance = chance / (on + present - chance)
        score = np.divide(both - chance, deviation, out=np.zeros(len(on)), where=deviation > 0)
        for channel in range(len(on)):
            values = (site.values[channel, concept], overlap[channel], by_chance[channel], score[channel])
            units.append(ConceptUnit((site.site, channel), *map(float, values)))
    return sorted(units, key=lambda unit: (-unit.iou, unit.unit))


def _removal(
    dissect: DissectCommandOptions, lab: Lab, units: Sequence[ConceptUnit], z: Tensor, class_ids: Tensor
) -> Removal:
    """Remove the best units and random ones, in the first images of each class."""
    order = [unit.unit for unit in units]
    numbers = [number for number in sorted(dissect.removed) if number <= len(order)]
    sets: dict[str, Sequence[Unit]] = {WITHOUT: ()}
    for number in numbers:
        sets[best_units(number)] = order[:number]
        for draw in range(dissect.random_sets):
            random = random_generator(lab.spec.seed, SHARED_CLASS, draw, f"random units {number}")
            sets[random_units(number, draw)] = [order[place] for place in random.permutation(len(order))[:number]]

    def compute(name: str, advance: Advance) -> tuple[Areas, Tensor]:
        chosen = {name: sets[name]}
        areas, images = areas_without(lab.generator, lab.segmenter, z, class_ids, chosen, lab.batch_size)
        advance(len(z))
        return areas[name], images[name]

    results = dict(zip(sets, computed(lab, "removing units of", list(sets), compute, len(z)), strict=True))
    kept_images = [WITHOUT, *map(best_units, numbers), *(random_units(number, 0) for number in numbers[-1:])]
    return Removal({name: areas for name, (areas, _) in results.items()}, {n: results[n][1] for n in kept_images}, sets)


def _sheet(
    dissect: DissectCommandOptions,
    lab: Lab,
    units: Sequence[ConceptUnit],
    removal: Removal,
    z: Tensor,
    class_ids: Tensor,
    concept: int,
) -> Sheet:
    images = removal.images[WITHOUT]
    area = removal.areas[WITHOUT][:, concept]
    largest = _of_various_classes(-area, class_ids)[: dissect.pictures]
    rows = [_row(f"most {dissect.concept}", images[largest], _masks(lab, images[largest], concept))]
    for unit in units[: dissect.units]:
        features = _features(lab, unit.unit, z, class_ids)
        most = _of_various_classes(-features.amax(dim=(1, 2)).numpy(), class_ids)[: dissect.pictures]
        site, channel = unit.unit
        label = f"site {site}, channel {channel}\nIoU {unit.iou:.2f}, by chance {unit.iou_by_chance:.2f}"
        rows.append(_row(label, images[most], (features[most] > unit.threshold).numpy(), begins_group=True))
    for name in removal.images:
        if name != WITHOUT:
            left, _ = share_left(area, removal.areas[name][:, concept])
            label = f"without {name}:\n{left:.0%} of its pixels left"
            rows.append(_row(label, removal.images[name][largest], None, begins_group=len(rows) == dissect.units + 1))
    return Sheet(
        f"{lab.generator.name}: units that draw {dissect.concept}",
        f"Lit: pixels labelled {dissect.concept} by {lab.segmenter.name} (first row), or where the unit is on, in the "
        "images that excite it most, of different classes. Below, the images of the first row without the units of "
        f"highest IoU, and without random ones; shares over {len(z):,} images. Seed {lab.spec.seed}.",
        tuple("" for _ in range(min(dissect.pictures, len(z)))),
        tuple(rows),
    )


def best_units(number: int) -> str:
    """Name the set of the units of highest overlap."""
    return "the best unit" if number == 1 else f"the best {number} units"


def random_units(number: int, draw: int) -> str:
    """Name a set of random units; the first draw has no number."""
    words = "a random unit" if number == 1 else f"{number} random units"
    return f"{words} ({draw + 1})" if draw else words


def _of_various_classes(order: NDArray[Any], class_ids: Tensor) -> NDArray[np.int64]:
    """Return the places of values in ascending order, first the best one of each class, then the other ones."""
    places = np.argsort(order, kind="stable")
    _, first = np.unique(class_ids.cpu().numpy()[places], return_index=True)
    is_first = np.zeros(len(places), bool)
    is_first[first] = True
    return np.concatenate([places[is_first], places[~is_first]])


def _row(label: str, images: Tensor, masks: NDArray[np.bool_] | None, *, begins_group: bool = False) -> SheetRow:
    """Return a row of images, dimmed where a mask is off."""
    pictures = [as_pixels(image) for image in images]
    if masks is not None:
        light = np.where(masks, 1.0, DIMMED)
        pictures = [
            (picture * (part[..., None] if picture.ndim == 3 else part)).astype(np.uint8)
            for picture, part in zip(pictures, light, strict=True)
        ]
    return SheetRow(label, tuple(Cell(picture) for picture in pictures), begins_group)


@torch.inference_mode()
def _masks(lab: Lab, images: Tensor, concept: int) -> NDArray[np.bool_]:
    masks = concept_masks(lab.segmenter, images.to(lab.generator.device))[:, concept]
    return np.asarray(masks.cpu().numpy())


@torch.inference_mode()
def _features(lab: Lab, unit: Unit, z: Tensor, class_ids: Tensor) -> Tensor:
    """Return the enlarged features of a unit in all images: ``[n, S, S]`` on the CPU."""
    site, channel = unit
    parts = [
        enlarged(lab.generator.run_to(site, rows, ids).features[:, channel : channel + 1], lab.generator.image_size)[
            :, 0
        ].cpu()
        for rows, ids in zip(z.split(lab.batch_size), class_ids.split(lab.batch_size), strict=True)
    ]
    return torch.cat(parts)


def _description(
    dissect: DissectCommandOptions, lab: Lab, units: Sequence[ConceptUnit], removal: Removal, concept: int
) -> dict[str, Any]:
    """Describe the units and what is left without them; random sets with mean and standard error over the sets."""
    area = removal.areas[WITHOUT][:, concept]
    curve = []
    for number in (number for number in sorted(dissect.removed) if best_units(number) in removal.areas):
        left, error = share_left(area, removal.areas[best_units(number)][:, concept])
        draws = [
            share_left(area, removal.areas[random_units(number, draw)][:, concept])[0]
            for draw in range(dissect.random_sets)
        ]
        curve.append(
            {
                "units": number,
                "left": left,
                "left_stderr": error,
                "left_without_random": float(np.mean(draws)),
                "left_without_random_sets": draws,
            }
        )
    return {
        "concept": dissect.concept,
        "share_of_pixels": float(area.sum() / (len(area) * lab.generator.image_size**2)),
        "images": len(area),
        "units": [
            {
                "site": unit.unit[0],
                "channel": unit.unit[1],
                "threshold": unit.threshold,
                "iou": unit.iou,
                "iou_by_chance": unit.iou_by_chance,
                "deviations_beyond_chance": unit.score,
            }
            for unit in units[: max(dissect.units, *dissect.removed)]
        ],
        "removal": curve,
    }
