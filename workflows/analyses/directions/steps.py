"""Steps along the directions of every concept in the images of a class, and what they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.directions.direction import Direction
from cawa_core.directions.manipulation import moved_images, pixel_changes
from cawa_core.generators.base import class_ids_of
from cawa_core.latents.dimensions import DimensionUnits
from cawa_core.statistics.standard_errors import standard_error
from workflows.analyses.directions import SETS, DirectionOptions, chosen_strength
from workflows.analyses.directions.search import ConceptDirections
from workflows.analyses.latents.measurements import concept_deviation, concept_scores, sizes_of
from workflows.lab import Lab
from workflows.lab.realism import realism_of

Array = NDArray[np.float64]

FIRST_MEASURED = 12 * 10**6
"""Index of the first latent of a class that takes the steps; nothing was chosen by it."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StepEffects:
    """Effects of a step on the images of a class, one value per latent.

    Attributes:
        changes: of every concept ``[n, concepts]``.
        pixels, locality, retention, realism: as the columns of the table ``[n]``; realism is NaN without real images.
    """

    changes: Array
    pixels: Array
    locality: Array
    retention: Array
    realism: Array


class ClassSteps:
    """Steps along all directions in the images of a class."""

    def __init__(
        self, lab: Lab, options: DirectionOptions, space: str, class_id: int, directions: Sequence[ConceptDirections]
    ) -> None:
        self.lab = lab
        self.options = options
        self.space = space
        self.class_id = class_id
        self.directions = directions
        self.scores = concept_scores(lab, options)
        self.concepts = self.scores.concepts
        self.deviation = concept_deviation(lab, options, class_id)
        self.realism_before = np.nan
        self.steps = self._measured()

    def rows(self) -> Iterator[Row]:
        """Yield the rows of ``directions``."""
        for place, concept in enumerate(self.concepts):
            if not self.deviation[place] > 0:
                continue
            rest = [each for each in range(len(self.concepts)) if each != place and self.deviation[each] > 0]
            for way, draw, weights in self.directions[place].all_ways:
                for strength in self.options.direction_strengths:
                    step = self.steps[_key(weights, strength)]
                    sizes = sizes_of(step.changes.mean(axis=0), self.deviation)
                    yield {
                        "class_id": self.class_id,
                        "concept": concept,
                        "space": self.space,
                        "way": way,
                        "draw": draw,
                        "strength": strength,
                        "n_dimensions": int((weights != 0).sum()),
                        "change": float(step.changes[:, place].mean()),
                        "change_stderr": standard_error(step.changes[:, place]),
                        "change_size": sizes[place],
                        "off_target": float(np.abs(sizes[rest]).mean()) if rest else np.nan,
                        "pixel_change": float(step.pixels.mean()),
                        "locality": float(step.locality.mean()),
                        "class_retention": float(step.retention.mean()),
                        "realism": float(step.realism.mean()),
                        "realism_before": self.realism_before,
                        "n_samples": len(step.pixels),
                    }

    def rescoring(self) -> Iterator[Row]:
        """Yield the rows of ``direction_rescoring``."""
        for place, concept in enumerate(self.concepts):
            for way, _, weights in self.directions[place].all_ways:
                if way not in SETS or not self.deviation[place] > 0:
                    continue
                changes = self.steps[_key(weights, chosen_strength(self.options))].changes.mean(axis=0)
                for scored, size in zip(self.concepts, sizes_of(changes, self.deviation), strict=True):
                    yield {
                        "class_id": self.class_id,
                        "concept": concept,
                        "space": self.space,
                        "way": way,
                        "scored_concept": scored,
                        "change_size": size,
                    }

    def sets(self) -> Iterator[Row]:
        """Yield the rows of ``controlling_sets``."""
        for concept, directions in zip(self.concepts, self.directions, strict=True):
            for way in SETS:
                if way in directions.by_way:
                    weights = directions.by_way[way]
                    dimensions = weights.nonzero()[:, 0]
                    yield {
                        "class_id": self.class_id,
                        "concept": concept,
                        "space": self.space,
                        "way": way,
                        "dimensions": dimensions.tolist(),
                        "weights": weights[dimensions].tolist(),
                        "confirmed_change": directions.confirmations[way].change,
                        "confirmation_p_value": directions.confirmations[way].p_value,
                    }

    @torch.inference_mode()
    def _measured(self) -> dict[bytes, StepEffects]:
        """Take every step once, whatever concepts share it."""
        generator = self.lab.generator
        z = generator.sample_latents(
            self.lab.spec.seed, self.class_id, range(FIRST_MEASURED, FIRST_MEASURED + self.options.direction_latents)
        )
        by_key = {
            _key(weights, strength): (weights, strength)
            for directions in self.directions
            for _, _, weights in directions.all_ways
            for strength in self.options.direction_strengths
        }
        stay = Direction.none(generator), 0.0
        steps = [stay] + [
            (Direction.in_space(self.space, weights.to(z), generator), strength)
            for weights, strength in by_key.values()
        ]
        ids = class_ids_of(self.class_id, z)
        before = torch.cat(
            [
                generator(rows, part)
                for rows, part in zip(z.split(self.lab.batch_size), ids.split(self.lab.batch_size), strict=True)
            ]
        )
        columns: list[Tensor] = []
        for cases, images in moved_images(generator, z, ids, steps, DimensionUnits.of(generator), self.lab.batch_size):
            rows = cases % len(z)
            changes = pixel_changes(before[rows], images)
            logs = self.lab.evaluator.log_probabilities(images)[:, self.class_id]
            values = (*changes, logs, realism_of(self.lab, self.class_id, self.options.neighbours, images))
            measured = torch.stack([value.double().cpu() for value in values], dim=1)
            columns.append(torch.cat([self.scores.scores(images, ids[rows]).double().cpu(), measured], dim=1))
        start, *taken = torch.cat(columns).split(len(z))
        self.realism_before = float(start[:, -1].mean())
        return {key: self._step(start, values) for key, values in zip(by_key, taken, strict=True)}

    def _step(self, before: Tensor, after: Tensor) -> StepEffects:
        count = len(self.concepts)
        changes = (after[:, :count] - before[:, :count]).numpy()
        pixels, locality, logs, realism = after[:, count:].T
        retention = (logs - before[:, count + 2]).clamp(max=0).exp()
        return StepEffects(changes, pixels.numpy(), locality.numpy(), retention.numpy(), realism.numpy())


def _key(weights: Tensor, strength: float) -> bytes:
    """Return what names a step."""
    return weights.numpy().tobytes() + np.float64(strength).tobytes()
