"""Computation of the tables of ``directions``: every direction of every concept, taken in images of every class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cawa_core.generators.base import class_ids_of
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.directions import (
    CONTROLLING_SETS_TABLE,
    DIRECTION_RESCORING_TABLE,
    DIRECTIONS_TABLE,
    TRANSLATIONS_TABLE,
    DirectionOptions,
)
from workflows.analyses.directions.search import directions_of, measured_classes, require_search
from workflows.analyses.directions.steps import ClassSteps
from workflows.analyses.directions.translation import translations
from workflows.analyses.latents.measurements import concept_scores, dimensions_of, spaces_of
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.lab.real_check import require_real_images
from workflows.planning.shards import Shard

PASSES_PER_STEP = 3
"""Passes of an image that take as long as a step of optimisation: forward and back."""
SEARCHED_SETS = 8
"""About as many sets are tried for a concept: sizes of the sequential one, both ones on other images, and baselines."""
TRANSLATION_STEPS = 10
"""About as many steps are tested for a translation within each space."""
TIMED_IMAGES = 16

Row = dict[str, Any]


class DirectionsWork(Work[DirectionOptions]):
    """Computation of the tables of ``directions``."""

    def check(self, lab: Lab, options: DirectionOptions) -> None:
        """Check dimensions, concepts and strengths, and that there are enough real images, if any."""
        require_search(lab, options)
        if lab.real_image_set is not None:
            require_real_images(lab, options.neighbours)

    def units(self, lab: Lab, options: DirectionOptions, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the spaces."""
        return [(space,) for space in spaces_of(lab.generator, options)]

    def run(self, lab: Lab, options: DirectionOptions, shard: Shard, earlier: Manifest | None) -> Output:
        """Find the directions of every concept, and take them in images of some classes."""
        directions: list[Row] = []
        rescoring: list[Row] = []
        sets: list[Row] = []
        translated: list[Row] = []
        for unit in shard.units:
            space = str(unit[0])
            by_concept = directions_of(lab, options, space, earlier)
            for class_id in shard.class_ids:
                steps = ClassSteps(lab, options, space, class_id, by_concept)
                directions += steps.rows()
                rescoring += steps.rescoring()
                sets += steps.sets()
                translated += translations(lab, options, class_id, space)
        tables = (
            (DIRECTIONS_TABLE, directions),
            (DIRECTION_RESCORING_TABLE, rescoring),
            (CONTROLLING_SETS_TABLE, sets),
            (TRANSLATIONS_TABLE, translated),
        )
        return Output({table.name: rows_of(table.name, rows) for table, rows in tables})

    def cost(self, lab: Lab, options: DirectionOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Count the images of all steps, of a translation within the space, and a share of one search.

        A search measures the effects of single dimensions in the classes that are not audited.
        """
        n_concepts = len(concept_scores(lab, options).concepts)
        ways = 5 + options.direction_random_sets
        steps = n_concepts * ways * len(options.direction_strengths)
        by_set = SEARCHED_SETS + PASSES_PER_STEP * options.direction_steps
        once: float = n_concepts * options.direction_search_latents * by_set
        unknown = set(measured_classes(lab.generator, options)) - set(lab.class_ids)
        dimensions = len(dimensions_of(lab.generator, options)) / len(spaces_of(lab.generator, options))
        once += len(unknown) * dimensions * len(options.latent_grid) * options.latent_samples
        of_class = PASSES_PER_STEP * options.direction_steps + TRANSLATION_STEPS
        translated = options.translation_partners * options.translation_latents * of_class
        if not lab.generator.takes_embeddings:
            translated = 0
        return Cost(steps * options.direction_latents + translated + once / len(lab.class_ids), steps)

    def pace(self, lab: Lab, options: DirectionOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time images that are scored by all concepts."""
        concepts = concept_scores(lab, options)
        z = lab.latents(lab.class_ids[0], TIMED_IMAGES)
        ids = class_ids_of(lab.class_ids[0], z)
        return {"scored image": seconds(lambda: concepts.scores(lab.generator(z, ids), ids), True) / TIMED_IMAGES}

    def seconds(self, lab: Lab, options: DirectionOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = (
            self.cost(lab, options, class_id, unit).passes for class_id in shard.class_ids for unit in shard.units
        )
        return sum(passes) * pace["scored image"]
