"""``cawa edit --labels``: one image, edited until it shows the labels that are painted on it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from cawa_core.annotations import read_latents
from cawa_core.errors import InputError, counted
from cawa_core.interventions import run_with_features
from cawa_core.masking.engine import log_scores
from cawa_core.rendering.label_colours import coloured, painted_on
from cawa_core.rendering.pixels import as_pixels, to_png
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.files import ExtractorFile
from cawa_core.semantics.layout_files import read_layout
from cawa_core.semantics.strokes import StrokeChanges, repainted, require_way, stroke_changes
from cawa_core.storage import Storage
from workflows.analyses.edits.command import EditCommandOptions
from workflows.analyses.semantics.maps import read_map, trained_map
from workflows.commands.sheets import Advance, as_json, computed, opened_output, probability_in_words, provenance
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

HEADINGS = ("image", "painted", "edited", "labels before", "labels after")


@dataclasses.dataclass(frozen=True)
class PaintedEdit:
    """An image before and after an edit.

    Attributes:
        images: before and after ``[2, C, S, S]``.
        maps: categories of their pixels ``[2, S, S]``.
        scores: probability of the class in both.
        changes: what the edit did in the strokes and outside.
    """

    images: Tensor
    maps: Tensor
    scores: tuple[float, float]
    changes: StrokeChanges


def run_painted_edit(edit: EditCommandOptions, spec: AuditSpec, options: RunOptions) -> tuple[Storage, list[str]]:
    """Edit an image by painted labels, and write it with a sheet; return the folder and what the command prints.

    Raises:
        InputError: bad input; nothing was written.
    """
    _check(edit, spec)
    spec = dataclasses.replace(spec, classes=edit.classes)
    needs = ("evaluator", "segmenter") if spec.segmenter else ("evaluator",)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), needs)
    generator = lab.generator
    if not generator.has_gradients:
        raise InputError(f"labels needs gradients, which {generator.name} does not have; edit channels instead")
    require_way(generator, edit.way)
    z, class_ids = _image(edit, lab)
    given = read_map(edit.extractor, generator) if edit.extractor else None
    categories = given.categories if given else categories_of(lab.segmenter.concepts)
    if lab.labeller is not None and categories_of(lab.labeller.concepts) != categories:
        raise InputError(
            f"extractor {edit.extractor} reads other labels than segmenter {lab.labeller.name} gives; leave out one "
            "of them"
        )
    strokes = read_layout(edit.labels, generator, categories, "labels")
    storage = opened_output(edit.output, lab, "edit")
    file = given or trained_map(lab, edit.training_images)

    def paint(_: object, advance: Advance) -> PaintedEdit:  # noqa: ARG001
        return _painted(lab, file, strokes[None], class_ids, z, edit)

    (result,) = computed(lab, "painting", [None], paint, unit="images")
    name = generator.class_names[int(class_ids)]
    storage.write("edited.png", to_png(result.images[1]))
    storage.write("edit.png", draw_sheet(_sheet(lab, edit, result, strokes, name)))
    described = {"class": name, "scores": lab.score_protocol, "p": result.scores, **dataclasses.asdict(result.changes)}
    storage.write("edit.json", as_json(provenance(lab, spec, edit) | described))
    return storage, _lines(result.changes)


def _check(edit: EditCommandOptions, spec: AuditSpec) -> None:
    """Check that options go together, as far as this needs no generator."""
    defaults = EditCommandOptions()
    for name in ("site", "channels", "operation", "strengths", "latents", "region", "parts", "suggest"):
        if getattr(edit, name) != getattr(defaults, name):
            raise InputError(f"{name} does not go with labels, which edits no chosen channels; leave out --{name}")
    if bool(edit.pictures) == bool(edit.classes):
        what = "both" if edit.pictures else "neither"
        raise InputError(f"labels needs either classes, one of them, or pictures; got {what}")
    if len(edit.classes) > 1:
        raise InputError(f"classes must be one for --labels, which edits one image; got {len(edit.classes)}: name one")
    if not (edit.extractor or spec.segmenter):
        raise InputError("segmenter must be given, or a trained map of the features by --extractor; see `cawa models`")


def _image(edit: EditCommandOptions, lab: Lab) -> tuple[Tensor, Tensor]:
    """Return latents ``[1, z_dim]`` and class ``[1]`` of the image that is painted on."""
    if not edit.pictures:
        z = lab.latents(lab.class_ids[0], edit.image + 1)[-1:]
        return z, torch.tensor(lab.class_ids[:1], device=z.device)
    z, class_ids = read_latents(edit.pictures, lab.generator)
    if edit.image >= len(z):
        raise InputError(f"image must be in 0..{len(z) - 1}, the images of {edit.pictures}; got {edit.image}")
    device = lab.generator.device
    return z[edit.image][None].to(device), class_ids[edit.image][None].to(device)


@torch.no_grad()
def _painted(
    lab: Lab, file: ExtractorFile, strokes: Tensor, class_ids: Tensor, z: Tensor, edit: EditCommandOptions
) -> PaintedEdit:
    """Edit an image, and label it before and after: by the segmenter if there is one, else by the map."""
    edited = repainted(lab.generator, file.extractor, strokes, class_ids, z, way=edit.way, steps=edit.steps)
    images, maps = [], []
    for start, changes in ((z, ()), (edited.z, edited.changes)):
        features, image = run_with_features(lab.generator, start, class_ids, file.extractor.sites, changes)
        images.append(image)
        by_map = file.extractor(features).argmax(dim=1)
        maps.append(by_map if lab.labeller is None else category_maps_of(lab.labeller, image))
    (measured,) = stroke_changes(strokes, (images[0], images[1]), (maps[0], maps[1]))
    scores = [float(log_scores(lab.evaluator, image, int(class_ids)).exp()) for image in images]
    return PaintedEdit(torch.cat(images), torch.cat(maps), (scores[0], scores[1]), measured)


def _sheet(lab: Lab, edit: EditCommandOptions, result: PaintedEdit, strokes: Tensor, name: str) -> Sheet:
    before, after = (as_pixels(image) for image in result.images)
    maps = coloured(result.maps.cpu().numpy())
    cells = (
        Cell(before, probability_in_words(result.scores[0])),
        Cell(painted_on(before, strokes.cpu().numpy())),
        Cell(after, probability_in_words(result.scores[1], result.scores[0])),
        Cell(maps[0]),
        Cell(maps[1]),
    )
    source = "segmenter" if lab.labeller is not None else "map of the features"
    note = f"p: probability of the class by {lab.evaluator.name}. Labels by the {source}. Seed {lab.spec.seed}."
    return Sheet(f"{lab.generator.name}: labels of {edit.labels}", note, HEADINGS, (SheetRow(name, cells),))


def _lines(changes: StrokeChanges) -> list[str]:
    return [
        f"strokes: {counted(changes.pixels, 'pixel')}, {changes.before / changes.pixels:.0%} with the painted label "
        f"before and {changes.after / changes.pixels:.0%} after; pixels change by {changes.change:.3f} of the range",
        f"outside: {changes.outside_kept / max(1, changes.outside_pixels):.0%} of pixels keep their label; they change "
        f"by {changes.outside_change:.3f}",
    ]
