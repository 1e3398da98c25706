"""``cawa latents``: directions of concepts or of ticked images, as files and on a sheet, and what drives what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from cawa_core.directions.direction import Direction
from cawa_core.directions.files import DirectionFile
from cawa_core.directions.ticks import FEWEST_POSITIVES
from cawa_core.errors import InputError, bounded, counted, suggestion
from cawa_core.latents.concepts import FunctionScores, JoinedScores
from cawa_core.latents.dimensions import LATENT
from cawa_core.options import require_distinct
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage
from workflows.analyses.directions import SETS, WAY_WORDS, DirectionOptions, chosen_strength
from workflows.analyses.directions.command import LatentsCommandOptions
from workflows.analyses.directions.drive_lists import drive_lines, require_drive
from workflows.analyses.directions.positives import Ticked, ticked
from workflows.analyses.directions.search import ConceptDirections, directions_of, require_search
from workflows.analyses.edits.along import heading, moved_along, rows_of_images, sheet_note
from workflows.analyses.latents import LATENTS
from workflows.analyses.latents.measurements import SOURCES, concept_deviation, concept_scores
from workflows.commands.sheets import MOST_ROWS, Advance, as_json, computed, opened_output, provenance
from workflows.lab import Lab
from workflows.options.audit import AuditSpec, options_as
from workflows.options.run import RunOptions

SHOWN_CONCEPTS = 12
"""Most concepts whose directions move images on the sheet."""
FIRST_MOVED = 13 * 10**6
"""Index of the first latent of the moved images; no direction was chosen by it."""


@dataclasses.dataclass(frozen=True)
class LatentsResult:
    """Result of ``cawa latents``.

    Attributes:
        storage: folder of ``latents.png``, ``latents.json`` and ``directions/``.
        lines: what the command prints.
    """

    storage: Storage
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Product:
    """Directions with their files, and what is said of them.

    Attributes:
        files: directions by the name of their file.
        lines: what the command prints.
        described: content of ``latents.json``.
        moved: files whose directions move the images on the sheet.
    """

    files: Mapping[str, DirectionFile]
    lines: Sequence[str]
    described: Mapping[str, Any]
    moved: Sequence[str] = ()


def run_latents(command: LatentsCommandOptions, spec: AuditSpec, options: RunOptions) -> LatentsResult:
    """Find directions, and write them with a sheet.

    Raises:
        InputError: bad input; nothing was written.
    """
    _check(command)
    spec = _with_concepts(dataclasses.replace(spec, classes=command.classes or (0,)), command)
    needs = ("evaluator", "segmenter") if spec.segmenter else ("evaluator",)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), needs)
    if not lab.generator.takes_embeddings and command.space != LATENT:
        name = lab.generator.name
        raise InputError(f"space must be {LATENT} for {name}, which takes class indices; got {command.space}")
    searched = options_as(DirectionOptions, spec)
    require_distinct(spec)
    require_search(lab, searched)
    chosen = chosen_concepts(command, concept_scores(lab, searched))
    if command.positives and len(lab.class_ids) > 1:
        raise InputError(f"classes must be one for --positives, whose images are of one; got {len(lab.class_ids)}")
    require_drive(command, lab)
    _require_rows(command, len(chosen), len(lab.class_ids))
    storage = opened_output(command.output, lab, LATENTS.name)

    def find(_: object, advance: Advance) -> tuple[Product, list[SheetRow]]:  # noqa: ARG001
        for class_id in lab.class_ids if command.concepts else ():
            _require_moving(lab, searched, class_id, chosen)
        product = _product(lab, command, searched, chosen)
        return product, [*_numbered_rows(lab, command), *_moved_rows(lab, command, product)]

    ((product, rows),) = computed(lab, "searching", [None], find, unit="searches")
    storage.write("latents.png", draw_sheet(_sheet(lab, command, rows)))
    for name, file in product.files.items():
        storage.write(f"directions/{name}.json", file.content())
    storage.write("latents.json", as_json(provenance(lab, spec, command) | dict(product.described)))
    lines = [*product.lines, *(f"direction: {storage.path(f'directions/{name}.json')}" for name in product.files)]
    return LatentsResult(storage, tuple(lines))


def _product(lab: Lab, command: LatentsCommandOptions, options: DirectionOptions, chosen: Sequence[str]) -> Product:
    """Return what the command is asked for."""
    if command.dimension >= 0 or command.site >= 0:
        return Product({}, *drive_lines(lab, command))
    if command.positives:
        return _of_positives(lab, command, ticked(lab, command))
    return _of_concepts(lab, command, options, chosen)


def _require_rows(command: LatentsCommandOptions, n_concepts: int, n_classes: int) -> None:
    """Check that the sheet is not too long.

    Raises:
        InputError: it would have more than ``MOST_ROWS`` rows.
    """
    groups = 1 if command.positives else min(n_concepts, SHOWN_CONCEPTS)
    if command.dimension >= 0 or command.site >= 0:
        groups = 0
    rows = -(-command.offered // len(command.strengths)) + groups * n_classes * command.images
    if rows > MOST_ROWS:
        raise InputError(
            f"images times classes and concepts, with the numbered images, must make at most {MOST_ROWS} rows of the "
            f"sheet; got {rows}: give fewer --images, --classes, --concepts or --offered"
        )


def _check(command: LatentsCommandOptions) -> None:
    """Check that options go together, as far as this needs no generator."""
    if (command.site >= 0) != (command.channel >= 0):
        raise InputError("site and channel must be given together")
    asked = {
        "concepts": bool(command.concepts),
        "positives": bool(command.positives),
        "dimension": command.dimension >= 0,
        "channel": command.channel >= 0,
    }
    given = [name for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise InputError(
            f"{given[0]} does not go with {given[1]}, which asks for something else; leave out one of them"
        )
    if command.positives and command.space != LATENT:
        raise InputError(
            f"space must be {LATENT} with positives, which are ranked by their latents; got {command.space}"
        )
    if command.positives and max(command.positives) >= command.offered:
        raise InputError(
            f"positives must be in 0..{command.offered - 1}, the images on the sheet; got {max(command.positives)}: "
            "raise --offered"
        )
    if command.positives and len(command.positives) < FEWEST_POSITIVES:
        raise InputError(f"positives must be at least {FEWEST_POSITIVES} images; got {len(command.positives)}")
    if len(set(command.positives)) < len(command.positives):
        raise InputError(f"positives must be different images; got {bounded(list(command.positives))}")
    if not command.strengths:
        raise InputError("strengths must hold at least one length of a step; got none")


def _with_concepts(spec: AuditSpec, command: LatentsCommandOptions) -> AuditSpec:
    """Return the spec with the user's functions among the concepts, and with the space alone."""
    functions = tuple(concept for concept in command.concepts if ":" in concept)
    only_functions = len(functions) == len(command.concepts) > 0
    concepts = functions if only_functions else (*SOURCES, *functions)
    values: dict[str, Any] = {"latent_concepts": concepts, "latent_spaces": (command.space,)}
    return dataclasses.replace(spec, **values)


def chosen_concepts(command: LatentsCommandOptions, scores: JoinedScores) -> list[str]:
    """Return the concepts whose directions are saved: those that are named, or all.

    Raises:
        InputError: one is not known or named twice.
    """
    if not command.concepts:
        return list(scores.concepts)
    of_functions = {source.name: source.concepts for source in scores.sources if isinstance(source, FunctionScores)}
    chosen: list[str] = []
    for concept in command.concepts:
        if concept not in scores.concepts and concept not in of_functions:
            raise InputError(
                f"concepts must be among {', '.join(scores.concepts)}, or package.module:function; got "
                f"{bounded(concept)}{suggestion(concept, scores.concepts)}"
            )
        chosen += of_functions.get(concept, (concept,))
    if len(set(chosen)) < len(chosen):
        raise InputError(f"concepts must be different ones; got {bounded(list(command.concepts))}")
    return chosen


def _require_moving(lab: Lab, options: DirectionOptions, class_id: int, chosen: Sequence[str]) -> None:
    """Check that no named concept is constant.

    Raises:
        InputError: nearly all images of a class have the same score.
    """
    deviation = dict(zip(concept_scores(lab, options).concepts, concept_deviation(lab, options, class_id), strict=True))
    for concept in chosen:
        if not deviation[concept] > 0:
            raise InputError(
                f"concept {concept} is constant: more than nine of ten images of "
                f"{lab.generator.class_names[class_id]} have the same score; choose another concept or class"
            )


def _of_concepts(lab: Lab, command: LatentsCommandOptions, options: DirectionOptions, chosen: Sequence[str]) -> Product:
    """Search for the controlling sets of concepts."""
    known = concept_scores(lab, options).concepts
    by_concept = dict(zip(known, directions_of(lab, options, command.space, None), strict=True))
    stems = _stems(chosen)
    files: dict[str, DirectionFile] = {}
    lines = [f"{'concept':22} {'set':16} dimensions   change after {chosen_strength(options):g} σ   p"]
    described = []
    moved: list[str] = []
    for concept in chosen:
        sets = {way: by_concept[concept].by_way[way] for way in SETS if way in by_concept[concept].by_way}
        for way, weights in sets.items():
            confirmation = by_concept[concept].confirmations[way]
            size = int((weights != 0).sum())
            described.append({"concept": concept, "way": way, "dimensions": size, **dataclasses.asdict(confirmation)})
            if not size:
                lines.append(f"{concept:22} {WAY_WORDS[way]:16} none controls it")
                continue
            lines.append(
                f"{concept:22} {WAY_WORDS[way]:16} {size:10} {confirmation.change:+18.4g}   {confirmation.p_value:.2g}"
            )
            direction = Direction.in_space(command.space, weights, lab.generator)
            method = f"{WAY_WORDS[way]} of {counted(size, f'{command.space} dimension')}"
            name = f"{stems[concept]}-{command.space}-{way}"
            files[name] = DirectionFile.of(direction, concept, method, lab.generator)
        best = _furthest(by_concept[concept], sets)
        if best and len(moved) < SHOWN_CONCEPTS:
            moved.append(f"{stems[concept]}-{command.space}-{best}")
    return Product(files, lines, {"space": command.space, "sets": described}, moved)


def _furthest(directions: ConceptDirections, sets: Mapping[str, Tensor]) -> str | None:
    """Return the way of the set that moves the concept furthest; None if both are empty."""
    used = [way for way, weights in sets.items() if bool(weights.any())]
    return max(used, key=lambda way: directions.confirmations[way].change) if used else None


def _of_positives(lab: Lab, command: LatentsCommandOptions, result: Ticked) -> Product:
    """Describe what ticked images have in common."""
    name = f"positives-{'-'.join(map(str, command.positives))}"[:60]
    file = DirectionFile.of(
        result.direction,
        f"images {', '.join(map(str, command.positives))}",
        f"what {counted(len(command.positives), 'image')} have in common",
        lab.generator,
    )
    return Product({name: file}, result.lines, result.described, [name])


def _stems(concepts: Sequence[str]) -> dict[str, str]:
    """Return the beginning of the names of each concept's files; numbered where several would be the same."""
    stems: dict[str, str] = {}
    for concept in concepts:
        stem = re.sub(r"\W+", "-", concept.lower()).strip("-") or "concept"
        stems[concept] = f"{stem}-{len(stems)}" if stem in stems.values() else stem
    return stems


def _numbered_rows(lab: Lab, command: LatentsCommandOptions) -> list[SheetRow]:
    """Return the images of the first class with their numbers; positives are framed."""
    class_id = lab.class_ids[0]
    columns = len(command.strengths)
    images = lab.images(class_id, lab.latents(class_id, command.offered))[0]
    cells = [
        Cell(as_pixels(image), str(number), framed=number in command.positives) for number, image in enumerate(images)
    ]
    cells += [Cell(None)] * (-len(cells) % columns)
    label = f"{lab.generator.class_names[class_id]}\nby number"
    return [
        SheetRow("" if first else label, tuple(cells[first : first + columns]), begins_group=not first)
        for first in range(0, len(cells), columns)
    ]


def _moved_rows(lab: Lab, command: LatentsCommandOptions, product: Product) -> list[SheetRow]:
    """Return images moved along directions, under the lengths of the steps."""
    rows: list[SheetRow] = []
    if product.moved:
        headings = tuple(Cell(None, heading(strength)) for strength in command.strengths)
        rows.append(SheetRow("length of the step", headings, begins_group=True))
    for name in product.moved:
        file = product.files[name]
        for class_id in lab.class_ids:
            indices = range(FIRST_MOVED, FIRST_MOVED + command.images)
            z = lab.generator.sample_latents(lab.spec.seed, class_id, indices)
            direction = file.direction
            moved = moved_along(lab, direction, class_id, z, command.strengths)
            label = f"{lab.generator.class_names[class_id]}\n{file.name}"
            rows += rows_of_images(label, moved, command.strengths)
    return rows


def _sheet(lab: Lab, command: LatentsCommandOptions, rows: Sequence[SheetRow]) -> Sheet:
    return Sheet(
        f"{lab.generator.name}: {command.space} directions",
        f"{sheet_note(lab)} Numbers are those that --positives takes.",
        ("",) * len(command.strengths),
        tuple(rows),
    )
