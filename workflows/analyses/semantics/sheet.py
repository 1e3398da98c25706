"""``cawa semantics``: a linear map of the features, and what it reads in some images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.annotations import Annotations, read_annotations
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, class_ids_of, spread_classes
from cawa_core.interventions import run_with_features
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.rendering.label_colours import coloured
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.semantics.agreement import LabelCounts, iou_by_image, iou_of_set, mean_iou
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.closed_form import CLOSED_FORMS, FEW_PENALTY, PENALTY, NormalEquations, linear_extractor
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.features import default_sites, images_per_block
from cawa_core.semantics.files import ExtractorFile
from cawa_core.semantics.sums import FeatureSums, channel_scales
from cawa_core.storage import Storage
from workflows.analyses.semantics import METHODS
from workflows.analyses.semantics.command import SemanticsCommandOptions
from workflows.analyses.semantics.maps import read_map, trained_map
from workflows.commands.sheets import Advance, as_json, computed, opened_output, provenance, require_rows
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

FIRST_TESTED = 4 * 10**6
"""Index of the first latent of the images that the map is scored on."""
FEW_IMAGES = 64
"""Number of annotated images up to which weights are penalised more."""
FEWEST_ANNOTATED = 2
"""Annotated images that are scored, each by the map of all others."""


@dataclasses.dataclass(frozen=True)
class SemanticsResult:
    """Result of ``cawa semantics``.

    Attributes:
        storage: folder of ``semantics.png``, ``semantics.json`` and ``extractor.safetensors``.
        lines: what the command prints.
    """

    storage: Storage
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Score:
    """Agreement of a map with the labels of some images.

    Attributes:
        counts: pixels of each category.
        n_images: number of the images.
        words: what they are.
    """

    counts: LabelCounts
    n_images: int
    words: str


def run_semantics(command: SemanticsCommandOptions, spec: AuditSpec, options: RunOptions) -> SemanticsResult:
    """Train or read a map, score it, draw what it reads, and write all of it.

    Raises:
        InputError: bad input; nothing was written.
    """
    if command.masks and command.extractor:
        raise InputError("extractor does not go with masks, which one is trained on; leave out --extractor or --masks")
    if command.masks and command.method not in CLOSED_FORMS:
        raise InputError(f"method must be {' or '.join(CLOSED_FORMS)} with masks; got {command.method}")
    spec = dataclasses.replace(spec, segmenter="" if command.masks else spec.segmenter)
    if not (command.masks or command.extractor or spec.segmenter):
        raise InputError("segmenter must be given, or label maps of your own by --masks; see `cawa models`")
    options = options.with_absolute_paths()
    lab = Lab.from_spec(spec, options, ("segmenter",) if spec.segmenter else ())
    class_ids = lab.generator.classes.resolve_all(command.classes) if command.classes else (0,)
    require_rows(2 if command.masks or not spec.segmenter else 3, len(class_ids), "classes")
    if command.sites:
        lab.generator.require_sites(command.sites)
    annotations = read_annotations(command.masks, lab.generator) if command.masks else None
    given = read_map(command.extractor, lab.generator) if command.extractor else None
    storage = opened_output(command.output, lab, "semantics")

    def train(_: object, advance: Advance) -> tuple[ExtractorFile, Score | None]:
        if given:
            return given, _score(lab, command, given, advance)
        if annotations:
            return _from_annotations(lab.generator, command, annotations)
        return _from_segmenter(lab, command, advance)

    size = command.tested_images + command.training_images * (not given and not annotations)
    ((file, score),) = computed(lab, "reading", [None], train, size, unit="images")
    sheet, lines = _sheet(lab, command, file, score, class_ids), _lines(file, score)
    storage.write("semantics.png", draw_sheet(sheet))
    storage.write("extractor.safetensors", file.content())
    storage.write("semantics.json", as_json(provenance(lab, spec, command) | _description(file, score)))
    return SemanticsResult(storage, tuple(lines))


def _from_segmenter(lab: Lab, command: SemanticsCommandOptions, advance: Advance) -> tuple[ExtractorFile, Score | None]:
    """Train a map on the labels of the lab's segmenter, and score it on other images."""
    file = trained_map(lab, command.training_images, command.method, command.sites)
    advance(command.training_images)
    return file, _score(lab, command, file, advance)


@torch.no_grad()
def _from_annotations(
    generator: Generator, command: SemanticsCommandOptions, annotations: Annotations
) -> tuple[ExtractorFile, Score | None]:
    """Train a map on annotated images, and score it on each of them by the map of all others."""
    sites = tuple(sorted(command.sites)) or default_sites(generator)
    categories = categories_of(annotations.concepts)
    maps = annotations.labels.long() + 1

    def features_of(images: slice) -> list[Tensor]:
        return run_with_features(generator, annotations.z[images], annotations.class_ids[images], sites)[0]

    block = images_per_block(generator, sites)
    blocks = [slice(first, first + block) for first in range(0, len(maps), block)]
    scales = channel_scales(map(features_of, blocks))

    sums = FeatureSums.none(scales, generator.image_size, len(categories))
    for images in blocks:
        sums.add(features_of(images), maps[images])
    equations = NormalEquations.of(sums, FEW_PENALTY if len(maps) <= FEW_IMAGES else PENALTY)

    def solved(of: NormalEquations) -> LinearExtractor:
        with torch.inference_mode(False):
            return linear_extractor(CLOSED_FORMS[command.method](of), scales, sites, generator.image_size)

    names = (generator.name, generator.digest, "masks", annotations.digest)
    file = ExtractorFile(solved(equations), categories, command.method, *names)
    if len(maps) < FEWEST_ANNOTATED:
        return file, None
    counts = []
    for place in range(len(maps)):
        image = slice(place, place + 1)
        features = features_of(image)
        left_out = FeatureSums.none(scales, generator.image_size, len(categories))
        left_out.add(features, maps[image])
        predicted = solved(equations.without(left_out))(features).argmax(dim=1)
        counts.append(LabelCounts.of(predicted, maps[image], len(categories)))
    return file, Score(reduce(add, counts), len(maps), "annotated images, each by the map of all others")


@torch.inference_mode()
def _score(lab: Lab, command: SemanticsCommandOptions, file: ExtractorFile, advance: Advance) -> Score | None:
    """Score a map on new images; None if the segmenter has other labels, or there is none."""
    if lab.labeller is None or categories_of(lab.labeller.concepts) != file.categories:
        return None
    count = command.tested_images
    z = lab.generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(FIRST_TESTED, FIRST_TESTED + count))
    class_ids = spread_classes(count, lab.generator.n_classes, z.device)
    batch = images_per_block(lab.generator, file.extractor.sites)
    counts = []
    for rows, ids in zip(z.split(batch), class_ids.split(batch), strict=True):
        features, images = run_with_features(lab.generator, rows, ids, file.extractor.sites)
        predicted = file.extractor(features).argmax(dim=1)
        counts.append(LabelCounts.of(predicted, category_maps_of(lab.labeller, images), len(file.categories)))
        advance(len(rows))
    return Score(reduce(add, counts), count, "new images of all classes")


@torch.inference_mode()
def _sheet(
    lab: Lab, command: SemanticsCommandOptions, file: ExtractorFile, score: Score | None, class_ids: Sequence[int]
) -> Sheet:
    rows = []
    compares = lab.labeller is not None and categories_of(lab.labeller.concepts) == file.categories
    for class_id in class_ids:
        z = lab.latents(class_id, command.latents)
        features, images = run_with_features(lab.generator, z, class_ids_of(class_id, z), file.extractor.sites)
        rows.append(_row(lab.generator.class_names[class_id], [as_pixels(image) for image in images], begins=True))
        if compares:
            rows.append(_row("by the segmenter", coloured(category_maps_of(lab.segmenter, images).cpu().numpy())))
        rows.append(_row("read off features", coloured(_predicted(file, features))))
    rows += _key_of_colours(file.categories[1:], command.latents, lab.generator.image_size)
    read = f"mIoU {_mean(score):.3f} over {score.n_images} {score.words}. " if score else ""
    return Sheet(
        f"{lab.generator.name}: semantics by {METHODS[file.method]}",
        f"{read}Seed {lab.spec.seed}.",
        tuple("" for _ in range(command.latents)),
        tuple(rows),
    )


def _key_of_colours(labels: Sequence[str], columns: int, side: int) -> list[SheetRow]:
    """Return rows of the colours of the labels, under their names."""
    numbers = np.arange(1, len(labels) + 1)[:, None, None]
    swatches = coloured(np.broadcast_to(numbers, (len(labels), side, side)))
    cells = [Cell(swatch, label) for swatch, label in zip(swatches, labels, strict=True)]
    cells += [Cell(None)] * (-len(cells) % columns)
    return [
        SheetRow("" if first else "labels", tuple(cells[first : first + columns]), begins_group=not first)
        for first in range(0, len(cells), columns)
    ]


def _predicted(file: ExtractorFile, features: list[Tensor]) -> NDArray[np.int64]:
    return np.asarray(file.extractor(features).argmax(dim=1).cpu().numpy())


def _row(label: str, pictures: Iterable[NDArray[np.uint8]], *, begins: bool = False) -> SheetRow:
    return SheetRow(label, tuple(Cell(picture) for picture in pictures), begins)


def _mean(score: Score) -> float:
    return mean_iou(iou_of_set(score.counts))


def _lines(file: ExtractorFile, score: Score | None) -> list[str]:
    """Return what the command prints: the mean IoU, and the IoU of each label."""
    if score is None:
        return []
    iou = iou_of_set(score.counts)
    labels = [f"{name:>20} {value:.3f}" for name, value in zip(file.categories[1:], iou[1:], strict=True) if value >= 0]
    means = f"mIoU {_mean(score):.3f} over all pixels, {mean_iou(iou_by_image(score.counts)):.3f} in single images"
    return [*labels, f"{means}; {score.n_images} {score.words}"]


def _description(file: ExtractorFile, score: Score | None) -> dict[str, Any]:
    described = {
        "method": file.method,
        "sites": list(file.extractor.sites),
        "labels": {"source": file.labels, "digest": file.labels_digest, "categories": list(file.categories)},
    }
    if score is None:
        return described
    iou = iou_of_set(score.counts)
    scored = {
        "images": score.n_images,
        "of": score.words,
        "miou": _mean(score),
        "miou_in_single_images": mean_iou(iou_by_image(score.counts)),
        "iou": dict(zip(file.categories, iou.tolist(), strict=True)),
    }
    return described | {"score": scored}
