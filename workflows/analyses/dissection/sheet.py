"""``cawa dissect``: the units of highest overlap with a concept, and images without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.annotations import Annotations
from cawa_core.dissection.activations import enlarged
from cawa_core.dissection.counts import intersection_over_union
from cawa_core.dissection.dissect import SiteThresholds, UnitOverlaps
from cawa_core.dissection.removal import Unit
from cawa_core.errors import InputError
from cawa_core.options import require_distinct
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.removal import WITHOUT, Removal, curve_of, remove_units
from workflows.analyses.dissection.sample import Sample, opened_sample
from workflows.commands.sheets import Advance, as_json, computed, opened_output, provenance
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

DIMMED = 0.3
"""Brightness of pixels where a unit is off."""


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

    def as_data(self) -> dict[str, Any]:
        """Return plain JSON-serialisable data."""
        return {
            "site": self.unit[0],
            "channel": self.unit[1],
            "threshold": self.threshold,
            "iou": self.iou,
            "iou_by_chance": self.iou_by_chance,
            "deviations_beyond_chance": self.score,
        }


def run_dissect(dissect: DissectCommandOptions, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet and write it with the units and areas as JSON; return where.

    Raises:
        InputError: bad input; nothing was written.
    """
    require_distinct(dissect)
    spec = dataclasses.replace(spec, classes=dissect.classes, segmenter="" if dissect.masks else spec.segmenter)
    sample = opened_sample(dissect, spec, options)
    lab = sample.lab
    if dissect.masks:  # what the options describe: all annotated images, and the random set that is drawn
        dissect = dataclasses.replace(dissect, images=len(sample), random_sets=1)
    concept = sample.concept(dissect.concept)
    sites = dissect.sites or tuple(range(len(lab.generator.sites)))
    lab.generator.require_sites(sites)
    storage = opened_output(dissect.output, lab, "units")

    def compute(_: object, advance: Advance) -> tuple[list[SiteThresholds], list[UnitOverlaps]]:
        return sample.overlaps(sorted(sites), dissect.threshold_images, advance)

    ((thresholds, overlaps),) = computed(lab, "dissecting", [None], compute, sample.work(dissect.threshold_images))
    ranked = [_ranked(thresholds, overlaps, index) for index in range(len(sample.labels.concepts))]
    units = ranked[concept]
    if not units:
        raise InputError(
            f"concept {dissect.concept!r} is in none of {len(sample)} images of {lab.generator.name}; give other "
            "--classes, or more --images"
        )
    removal = remove_units(dissect, sample, [unit.unit for unit in units])
    storage.write("units.png", draw_sheet(_sheet(dissect, sample, units, removal, concept)))
    description = _description(dissect, sample, ranked, removal, concept)
    storage.write("units.json", as_json(provenance(lab, spec, dissect) | description))
    return storage


def _ranked(thresholds: Sequence[SiteThresholds], overlaps: Sequence[UnitOverlaps], concept: int) -> list[ConceptUnit]:
    """Rank units by their overlap with the concept, the highest first."""
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


def _sheet(
    dissect: DissectCommandOptions, sample: Sample, units: Sequence[ConceptUnit], removal: Removal, concept: int
) -> Sheet:
    area = removal.areas[WITHOUT][:, concept]
    places = np.flatnonzero(area)
    largest = places[_of_various_classes(-area[places], sample.class_ids[places])][: dissect.pictures]
    images = sample.images(largest)
    rows = [_row(f"most {dissect.concept}", images, sample.masks(images, largest, concept))]
    for unit in units[: dissect.units]:
        features = _features(sample, unit.unit)
        most = _of_various_classes(-features.amax(dim=(1, 2)).numpy(), sample.class_ids)[: dissect.pictures]
        site, channel = unit.unit
        label = f"site {site}, channel {channel}\nIoU {unit.iou:.2f}, by chance {unit.iou_by_chance:.2f}"
        rows.append(_row(label, sample.images(most), (features[most] > unit.threshold).numpy(), begins_group=True))
    for name, removed in removal.drawn.items():
        share = removal.share_left(name, concept)
        label = f"without {name}" + (f":\n{share[0]:.0%} of its pixels left" if share else "")
        rows.append(_row(label, sample.images(largest, removed), None, begins_group=len(rows) == dissect.units + 1))
    columns = max(len(row.cells) for row in rows)  # fewer images may show the concept
    return Sheet(
        f"{sample.lab.generator.name}: units that draw {dissect.concept}",
        _note(dissect, sample),
        tuple("" for _ in range(columns)),
        tuple(
            dataclasses.replace(row, cells=(*row.cells, *(Cell(None) for _ in range(columns - len(row.cells)))))
            for row in rows
        ),
    )


def _note(dissect: DissectCommandOptions, sample: Sample) -> str:
    """Explain the sheet."""
    source = "in your label maps" if isinstance(sample.labels, Annotations) else f"by {sample.labels.name}"
    lit = (
        f"Lit: pixels labelled {dissect.concept} {source} (first row), or where the unit is on, in the images that "
        "excite it most, of different classes. Below, the images of the first row without the units of highest IoU, "
        "and without random ones"
    )
    if isinstance(sample.labels, Annotations):
        return (
            f"{lit}. IoU over your {len(sample)} images; a unit is on above the threshold that 0.5% of its pixels in "
            f"{dissect.threshold_images:,} other images exceed. Seed {sample.lab.spec.seed}."
        )
    return f"{lit}; shares over {len(sample):,} images. Seed {sample.lab.spec.seed}."


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
def _features(sample: Sample, unit: Unit) -> Tensor:
    """Return the enlarged features of a unit in all images: ``[n, S, S]`` on the CPU."""
    site, channel = unit
    generator, batch = sample.lab.generator, sample.lab.batch_size
    parts = []
    with sample.lab.arithmetic():
        for rows, ids in zip(sample.z.split(batch), sample.class_ids.split(batch), strict=True):
            features = generator.run_to(site, rows, ids).features[:, channel : channel + 1]
            parts.append(enlarged(features, generator.image_size)[:, 0].cpu())
    return torch.cat(parts)


def _description(
    dissect: DissectCommandOptions,
    sample: Sample,
    ranked: Sequence[Sequence[ConceptUnit]],
    removal: Removal,
    concept: int,
) -> dict[str, Any]:
    """Describe the units, those of the other concepts, and what is left without them, with random sets."""
    area = removal.areas[WITHOUT][:, concept]
    annotations = {"annotations": sample.labels.digest} if isinstance(sample.labels, Annotations) else {}
    return {
        **annotations,
        "concept": dissect.concept,
        "share_of_pixels": float(area.sum() / (len(area) * sample.lab.generator.image_size**2)),
        "images": len(area),
        "units": [unit.as_data() for unit in ranked[concept][: max(dissect.units, *dissect.removed)]],
        "best_units_by_concept": {
            name: [unit.as_data() for unit in units[: dissect.units]]
            for name, units in zip(sample.labels.concepts, ranked, strict=True)
        },
        "removal": curve_of(dissect, removal, concept),
    }
