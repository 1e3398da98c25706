"""``cawa sample``: images of a painted layout, or random ones with their label maps, to paint on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cawa_core.annotations import LABELS, LATENTS, colours_content, latents_content
from cawa_core.errors import InputError, counted
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import run_with_features
from cawa_core.rendering.grids import png_of
from cawa_core.rendering.label_colours import coloured
from cawa_core.rendering.pixels import as_pixels, to_png
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.files import ExtractorFile
from cawa_core.semantics.layout_files import palette_of, read_layout
from cawa_core.semantics.layouts import PASSES_PER_STEP, closest_latents, layout_agreement, optimised_latents
from cawa_core.storage import Storage
from workflows.analyses.layouts.command import SampleCommandOptions
from workflows.analyses.semantics.maps import read_map, trained_map
from workflows.commands.sheets import Advance, as_json, computed, opened_output, provenance, require_rows
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

FIRST_DRAW = 9 * 10**6
"""Index of the first latent of the draws; no analysis sees these images, whose layouts may be given."""
ROWS = 3
"""Rows of pictures per class: random or closest images, optimised ones, and the best of as many draws."""


@dataclasses.dataclass(frozen=True)
class SampleResult:
    """Result of ``cawa sample``.

    Attributes:
        storage: folder of the images, their label maps and latents, the sheet, and ``sample.json``.
        lines: what the command prints.
    """

    storage: Storage
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Some images of a class.

    Attributes:
        class_id: the class.
        words: how they were made.
        z: latents ``[n, z_dim]``.
        images: images ``[n, C, S, S]``.
        maps: categories of their pixels, int64 ``[n, S, S]``.
        agreement: share of the layout's pixels that they show ``[n]``; None without a layout.
    """

    class_id: int
    words: str
    z: Tensor
    images: Tensor
    maps: Tensor
    agreement: list[float] | None


def run_sample(command: SampleCommandOptions, spec: AuditSpec, options: RunOptions) -> SampleResult:
    """Sample images, and write them with their label maps, their latents and a sheet.

    Raises:
        InputError: bad input; nothing was written.
    """
    if not (command.extractor or spec.segmenter):
        raise InputError("segmenter must be given, or a trained map of the features by --extractor; see `cawa models`")
    options = options.with_absolute_paths()
    lab = Lab.from_spec(spec, options, ("segmenter",) if spec.segmenter else ())
    generator = lab.generator
    class_ids = generator.classes.resolve_all(command.classes) if command.classes else (0,)
    require_rows(ROWS if command.layout else 2, len(class_ids), "classes")
    given = read_map(command.extractor, generator) if command.extractor else None
    categories = given.categories if given else categories_of(lab.segmenter.concepts)
    if lab.labeller is not None and categories_of(lab.labeller.concepts) != categories:
        raise InputError(
            f"extractor {command.extractor} reads other labels than segmenter {lab.segmenter.name} gives; leave out "
            "one of them"
        )
    layout = read_layout(command.layout, generator, categories) if command.layout else None
    if layout is not None and command.steps and not generator.has_gradients:
        raise InputError(f"steps must be 0 for {generator.name}, which has no gradients; got {command.steps}")
    storage = opened_output(command.output, lab, "sample")
    needs_map = layout is not None or lab.labeller is None
    file = given or (trained_map(lab, command.training_images) if needs_map else None)

    sampler = _Sampler(lab, command, file, layout)
    size = sampler.passes if layout is not None else command.images
    by_class = computed(lab, "sampling", class_ids, sampler.sampled, size, unit="passes")
    _write(storage, lab, categories, [each[sampler.final] for each in by_class])
    storage.write("sample.png", draw_sheet(_sheet(lab, command, by_class, layout)))
    storage.write("sample.json", as_json(provenance(lab, spec, command) | _description(lab, by_class, file)))
    return SampleResult(storage, tuple(_lines(lab, by_class)))


@dataclasses.dataclass(frozen=True)
class _Sampler:
    """Samples images of a class.

    Attributes:
        lab: lab with the generator, and a segmenter if there is one.
        command: options.
        file: map of the features; None if none is needed.
        layout: wanted categories ``[S, S]``; None for random images.
    """

    lab: Lab
    command: SampleCommandOptions
    file: ExtractorFile | None
    layout: Tensor | None

    @property
    def passes(self) -> int:
        """Passes that optimisation takes, and of which the best draw is shown beside it."""
        steps = PASSES_PER_STEP * self.command.steps
        return self.command.images * (self.command.draws + steps)

    @property
    def final(self) -> int:
        """Place of the images that are written, among those of a class."""
        return 0 if self.layout is None or not self.command.steps else 1

    def sampled(self, class_id: int, advance: Advance) -> list[Sampled]:
        """Return random images; or, of a layout, the closest draws, these optimised, and the best of as many draws."""
        generator, command = self.lab.generator, self.command
        if self.layout is None:
            return [self._seen(class_id, "random", self.lab.latents(class_id, command.images))]
        assert self.file is not None
        extractor, layout = self.file.extractor, self.layout
        n_draws = command.images * command.draws
        indices = range(FIRST_DRAW, FIRST_DRAW + self.passes)
        draws = generator.sample_latents(self.lab.spec.seed, class_id, indices)

        def closest(z: Tensor) -> Tensor:
            return closest_latents(generator, extractor, layout, class_id, z, command.images, self.lab.batch_size)

        start = closest(draws[:n_draws])
        advance(n_draws)
        sampled = [self._seen(class_id, f"closest of {n_draws:,} draws", start)]
        if not command.steps:
            return sampled
        wanted = layout.expand(len(start), -1, -1)
        ids = class_ids_of(class_id, start)
        optimised = optimised_latents(generator, extractor, wanted, ids, start, steps=command.steps)
        sampled.append(self._seen(class_id, f"after {counted(command.steps, 'step')}", optimised))
        return [*sampled, self._seen(class_id, f"closest of {self.passes:,} draws", closest(draws))]

    @torch.inference_mode()
    def _seen(self, class_id: int, words: str, z: Tensor) -> Sampled:
        """Generate images and label them, by the segmenter if there is one, else by the map of the features."""
        sites = self.file.extractor.sites if self.file else ()
        features, images = run_with_features(self.lab.generator, z, class_ids_of(class_id, z), sites)
        if self.lab.labeller is not None:
            maps = category_maps_of(self.lab.labeller, images)
        else:
            assert self.file is not None
            maps = self.file.extractor(features).argmax(dim=1)
        layout = self.layout
        agreement = None if layout is None else layout_agreement(maps, layout.expand_as(maps)).tolist()
        return Sampled(class_id, words, z, images, maps, agreement)


def _write(storage: Storage, lab: Lab, categories: Sequence[str], sampled: Sequence[Sampled]) -> None:
    """Write images, label maps, the names of their colours, and latents."""
    palette = palette_of(categories)
    colours = torch.tensor(list(palette.values()), dtype=torch.uint8)
    images = [image for each in sampled for image in each.images]
    maps = [label_map for each in sampled for label_map in each.maps]
    for place, (image, label_map) in enumerate(zip(images, maps, strict=True)):
        storage.write(f"image-{place:03d}.png", to_png(image))
        storage.write(f"map-{place:03d}.png", png_of(Image.fromarray(colours[label_map.cpu()].numpy())))
    z = torch.cat([each.z for each in sampled])
    class_ids = torch.cat([class_ids_of(each.class_id, each.z) for each in sampled])
    storage.write(LABELS, colours_content(palette))
    storage.write(LATENTS, latents_content(z, class_ids, lab.generator))


def _sheet(
    lab: Lab, command: SampleCommandOptions, by_class: Sequence[Sequence[Sampled]], layout: Tensor | None
) -> Sheet:
    columns = command.images
    rows = []
    if layout is not None:
        cells = [Cell(coloured(layout.clamp(min=0).cpu().numpy())), *[Cell(None)] * (columns - 1)]
        rows.append(SheetRow("layout", tuple(cells)))
    for of_class in by_class:
        for place, each in enumerate(of_class):
            name = lab.generator.class_names[each.class_id]
            captions = ["" if each.agreement is None else f"{share:.1%}" for share in each.agreement or [0.0] * columns]
            cells = [Cell(as_pixels(image), caption) for image, caption in zip(each.images, captions, strict=True)]
            label = name if layout is None else f"{name}\n{each.words}"
            rows.append(SheetRow(label, tuple(cells), begins_group=not place))
            if layout is None:
                rows.append(
                    SheetRow("label map", tuple(Cell(picture) for picture in coloured(each.maps.cpu().numpy())))
                )
    source = "segmenter" if lab.labeller is not None else "map of the features"
    shares = "" if layout is None else f"Below each image: share of the layout's pixels that agree, by the {source}. "
    title = "random images" if layout is None else f"images of the layout {command.layout}"
    return Sheet(f"{lab.generator.name}: {title}", f"{shares}Seed {lab.spec.seed}.", ("",) * columns, tuple(rows))


def _lines(lab: Lab, by_class: Sequence[Sequence[Sampled]]) -> list[str]:
    """Return what the command prints: the mean agreement of each kind of images."""
    return [
        f"{lab.generator.class_names[each.class_id]}: {each.words}, {fmean(each.agreement):.1%} of the layout"
        for of_class in by_class
        for each in of_class
        if each.agreement is not None
    ]


def _description(lab: Lab, by_class: Sequence[Sequence[Sampled]], file: ExtractorFile | None) -> dict[str, Any]:
    return {
        "labelled_by": lab.labeller.name if lab.labeller is not None else "extractor",
        "extractor": file and {"method": file.method, "labels": file.labels, "labels_digest": file.labels_digest},
        "images": [
            {
                "class_id": each.class_id,
                "class": lab.generator.class_names[each.class_id],
                "kind": each.words,
                "agreement": each.agreement,
            }
            for of_class in by_class
            for each in of_class
        ],
    }
