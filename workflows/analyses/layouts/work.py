"""Computation of the tables ``layouts`` and ``strokes``: images optimised for what their pixels should show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import run
from cawa_core.rendering.pixels import to_png
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.layouts import (
    PASSES_PER_STEP,
    closest_latents,
    layout_agreement,
    optimised_latents,
)
from cawa_core.semantics.strokes import repainted, require_way, stroke_changes
from cawa_core.tables import Manifest, rows_of
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.layouts import (
    BEST_OF_MANY,
    CLOSEST,
    LAYOUTS_TABLE,
    OPTIMISED,
    STROKES_TABLE,
    LayoutOptions,
)
from workflows.analyses.layouts.pictures import layout_png, painted_pngs
from workflows.analyses.layouts.strokes import drawn_stroke
from workflows.analyses.semantics.closed_forms import ClosedForms
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.lab.real_check import require_real_images
from workflows.lab.realism import realism_of
from workflows.planning.shards import Shard

METHOD = "lda"
"""Map of the features that reads the labels."""
FIRST_LAYOUT, FIRST_DRAW, FIRST_OTHER = 6 * 10**6, 7 * 10**6, 8 * 10**6
"""Indices of the first latents of the images whose layouts are wanted, of the draws of the first layout, and of the
images that strokes are taken from; no other analysis sees any of them."""
OTHERS = 16
"""Images of the class that strokes are taken from."""
TIMED_IMAGES = 8

Row = dict[str, Any]


class LayoutsWork(Work[LayoutOptions]):
    """Computation of the tables ``layouts`` and ``strokes``."""

    def check(self, lab: Lab, options: LayoutOptions) -> None:
        """Check the sites, that there are enough real images, if there are any, and that there are gradients."""
        if options.semantics_sites:
            lab.generator.require_sites(options.semantics_sites)
        require_way(lab.generator, options.stroke_way)
        if lab.real_image_set is not None:
            require_real_images(lab, options.neighbours)
        if not lab.generator.has_gradients:
            raise InputError(
                f"stage layouts needs gradients, which {lab.generator.name} does not have; leave it out of --stages"
            )

    def run(self, lab: Lab, options: LayoutOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Optimise images of some classes for layouts and strokes."""
        extractor = ClosedForms(lab, options).closed_form(METHOD)[ALL_SITES]
        layouts: list[Row] = []
        strokes: list[Row] = []
        for class_id in shard.class_ids:
            measured = _Measured(lab, options, extractor, class_id)
            layouts += measured.layouts()
            strokes += measured.strokes()
        tables = (LAYOUTS_TABLE, layouts), (STROKES_TABLE, strokes)
        return Output({table.name: rows_of(table.name, rows) for table, rows in tables})

    def cost(self, lab: Lab, options: LayoutOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate passes: those of optimisation, as many draws for each layout, and a share of the map's images."""
        steps = PASSES_PER_STEP * options.layout_steps
        of_layouts = options.layouts_per_class * (2 * steps + options.layout_draws)
        of_strokes = options.strokes_per_class * steps
        once = 3 * options.semantics_training_latents / len(lab.class_ids)
        return Cost(once + of_layouts + of_strokes + OTHERS, 3 * options.layouts_per_class, 6)

    def pace(self, lab: Lab, options: LayoutOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time passes without an evaluator."""
        z = lab.latents(lab.class_ids[0], TIMED_IMAGES)
        ids = class_ids_of(lab.class_ids[0], z)
        return {"pass": seconds(lambda: lab.generator(z, ids), True) / TIMED_IMAGES}

    def seconds(self, lab: Lab, options: LayoutOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = (self.cost(lab, options, class_id, ()).passes for class_id in shard.class_ids)
        return sum(passes) * pace["pass"]


class _Measured:
    """Images of one class that are optimised, and how close they come."""

    def __init__(self, lab: Lab, options: LayoutOptions, extractor: LinearExtractor, class_id: int) -> None:
        self.lab = lab
        self.options = options
        self.extractor = extractor
        self.class_id = class_id

    def layouts(self) -> list[Row]:
        """Return the rows of the layouts of the class."""
        count = self.options.layouts_per_class
        if not count:
            return []
        wanted = self._maps(self._images(self._latents(FIRST_LAYOUT, count)))
        passes = self.options.layout_draws + PASSES_PER_STEP * self.options.layout_steps
        draws = [self._latents(FIRST_DRAW + layout * passes, passes) for layout in range(count)]
        closest = torch.cat([self._closest(wanted[i], z[: self.options.layout_draws]) for i, z in enumerate(draws)])
        best = torch.cat([self._closest(wanted[layout], z) for layout, z in enumerate(draws)])
        optimised = optimised_latents(
            self.lab.generator,
            self.extractor,
            wanted,
            class_ids_of(self.class_id, closest),
            closest,
            steps=self.options.layout_steps,
        )
        rows = []
        for way, latents, cost in (
            (CLOSEST, closest, self.options.layout_draws),
            (OPTIMISED, optimised, passes),
            (BEST_OF_MANY, best, passes),
        ):
            images = self._images(latents)
            agreement = layout_agreement(self._maps(images), wanted).tolist()
            realism = self._realism(images)
            rows += [
                {
                    "class_id": self.class_id,
                    "layout": layout,
                    "way": way,
                    "passes": cost,
                    "pixels": wanted[layout].numel(),
                    "agreeing": round(agreement[layout] * wanted[layout].numel()),
                    "realism": realism[layout],
                    "pngs": None if layout else [layout_png(wanted[layout]), to_png(images[layout])],
                }
                for layout in range(count)
            ]
        return rows

    def strokes(self) -> list[Row]:
        """Return the rows of the strokes of the class."""
        count = self.options.strokes_per_class
        if not count:
            return []
        z = self.lab.latents(self.class_id, count)
        before = self._images(z)
        maps = self._maps(before)
        same_class = self._maps(self._images(self._latents(FIRST_OTHER, OTHERS)))
        drawn = [drawn_stroke(maps[i], same_class, self.lab.spec.seed, self.class_id, i) for i in range(count)]
        numbers = [number for number, stroke in enumerate(drawn) if stroke is not None]
        strokes = [stroke for stroke in drawn if stroke is not None]
        if not strokes:
            return []
        before, maps, z = before[numbers], maps[numbers], z[numbers]
        painted = torch.stack([stroke.map for stroke in strokes])
        ids = class_ids_of(self.class_id, z)
        edited = repainted(
            self.lab.generator,
            self.extractor,
            painted,
            ids,
            z,
            way=self.options.stroke_way,
            steps=self.options.layout_steps,
        )
        with torch.inference_mode():
            after = run(self.lab.generator, edited.z, ids, edited.changes)
            changes = stroke_changes(painted, (before, after), (maps, self._maps(after)))
        names = categories_of(self.lab.segmenter.concepts)
        realism = zip(self._realism(before), self._realism(after), strict=True)
        return [
            {
                "class_id": self.class_id,
                "stroke": number,
                "label": names[stroke.category],
                **dataclasses.asdict(change),
                "realism_before": realism_before,
                "realism_after": realism_after,
                "pngs": None if number else painted_pngs(before[place], stroke.map, after[place]),
            }
            for place, (number, stroke, change, (realism_before, realism_after)) in enumerate(
                zip(numbers, strokes, changes, realism, strict=True)
            )
        ]

    def _latents(self, first: int, count: int) -> Tensor:
        indices = range(first, first + count)
        return self.lab.generator.sample_latents(self.lab.spec.seed, self.class_id, indices)

    def _closest(self, layout: Tensor, z: Tensor) -> Tensor:
        return closest_latents(self.lab.generator, self.extractor, layout, self.class_id, z, 1, self.lab.batch_size)

    @torch.inference_mode()
    def _images(self, z: Tensor) -> Tensor:
        parts = [run(self.lab.generator, rows, class_ids_of(self.class_id, rows), ()) for rows in self._batches(z)]
        return torch.cat(parts)

    @torch.inference_mode()
    def _maps(self, images: Tensor) -> Tensor:
        return torch.cat([category_maps_of(self.lab.segmenter, rows) for rows in self._batches(images)])

    def _batches(self, values: Tensor) -> Sequence[Tensor]:
        batches: Sequence[Tensor] = values.split(self.lab.batch_size)
        return batches

    def _realism(self, images: Tensor) -> list[float]:
        """Return the closeness of images to real images of the class; NaN without real images."""
        values: list[float] = realism_of(self.lab, self.class_id, self.options.neighbours, images).tolist()
        return values
