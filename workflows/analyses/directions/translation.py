"""Images of a class translated into another, by extreme interventions on latent and embedding dimensions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.directions.direction import Direction
from cawa_core.directions.manipulation import concept_derivatives, moved_images
from cawa_core.directions.sets import optimised_sets, random_set, set_sizes
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import class_ids_of
from cawa_core.latents.concepts import ConceptScores
from cawa_core.latents.dimensions import LATENT, DimensionUnits
from cawa_core.numerics.seeds import random_generator
from workflows.analyses.directions import (
    EMBEDDING_CHANCE,
    EMBEDDING_SET,
    LATENT_CHANCE,
    LATENT_SET,
    DirectionOptions,
    chosen_strength,
)
from workflows.analyses.directions.search import SMALL_STEP
from workflows.lab import Lab

FIRST_TRANSLATED = 11 * 10**6
"""Index of the first latent on which translations are optimised and tested."""
EXTREME = (2.0, 4.0, 8.0)
"""Lengths of latent steps, in standard deviations."""
TESTED_SIZES = 6
"""Most sizes of sets of embedding dimensions."""

Row = dict[str, Any]


class TargetScores(ConceptScores):
    """Log-probability of a target class less that of the class that an image was generated for.

    Args:
        evaluator: the classifier.
        target_class: index of the target class.
    """

    concepts = ("target class",)
    with_gradients = (True,)

    def __init__(self, evaluator: Evaluator, target_class: int) -> None:
        self.evaluator = evaluator
        self.target_class = target_class

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the difference ``[n, 1]``."""
        return self.soft_scores(images, class_ids)

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the same."""
        log_probabilities = self.evaluator.log_probabilities(images)
        target = log_probabilities[:, self.target_class : self.target_class + 1]
        return target - log_probabilities.gather(1, class_ids[:, None])


def partners_of(lab: Lab, class_id: int, count: int) -> list[int]:
    """Return the classes whose embeddings are closest to that of a class, among all of the generator."""
    embeddings = lab.class_embeddings.double()
    distances = (embeddings - embeddings[class_id]).square().sum(dim=1)
    distances[class_id] = torch.inf
    order = distances.argsort(stable=True)[: min(count, len(embeddings) - 1)]
    return [int(other) for other in order]


def translations(lab: Lab, options: DirectionOptions, class_id: int, space: str) -> Iterator[Row]:
    """Yield the rows of the translations of a class within a space.

    A generator that takes class indices has none: no class is closer to another.
    """
    if not lab.generator.takes_embeddings:
        return
    for target_class in partners_of(lab, class_id, options.translation_partners):
        steps = _latent_steps if space == LATENT else _embedding_steps
        yield from _tested(lab, options, class_id, target_class, list(steps(lab, options, class_id, target_class)))


def _latents(lab: Lab, options: DirectionOptions, class_id: int, *, tested: bool) -> Tensor:
    count = options.translation_latents
    first = FIRST_TRANSLATED + count * tested
    return lab.generator.sample_latents(lab.spec.seed, class_id, range(first, first + count))


@dataclasses.dataclass(frozen=True)
class TranslationStep:
    """A step that should translate images: its way, direction and length, and how many dimensions it changes."""

    way: str
    direction: Direction
    strength: float
    n_dimensions: int


def _latent_steps(lab: Lab, options: DirectionOptions, class_id: int, target_class: int) -> Iterator[TranslationStep]:
    """Yield steps along a direction that is optimised for the pair, and along a random one of as many dimensions."""
    generator = lab.generator
    if not (generator.has_gradients and options.direction_steps):
        return
    z = _latents(lab, options, class_id, tested=False)
    ids = class_ids_of(class_id, z)
    scores = TargetScores(lab.evaluator, target_class)
    units = DimensionUnits.of(generator)

    def derivatives(weights: Tensor, step: int) -> Tensor:
        length = chosen_strength(options) if step else SMALL_STEP
        return concept_derivatives(generator, scores, z, ids, weights, length, LATENT, units, lab.batch_size)

    (weights,) = optimised_sets(derivatives, 1, generator.z_dim, options.direction_steps)
    size = int((weights != 0).sum())
    if not size:
        return
    random = random_generator(lab.spec.seed, class_id, target_class, "latent translation")
    chance = random_set(generator.z_dim, size, random)
    for way, each in ((LATENT_SET, weights), (LATENT_CHANCE, chance)):
        direction = Direction.in_space(LATENT, each.to(z), generator)
        yield from (TranslationStep(way, direction, strength, size) for strength in EXTREME)


def _embedding_steps(
    lab: Lab,
    options: DirectionOptions,  # noqa: ARG001
    class_id: int,
    target_class: int,
) -> Iterator[TranslationStep]:
    """Yield steps that give embedding dimensions the target's values: those that differ most, and random ones."""
    generator = lab.generator
    deviation = DimensionUnits.of(generator).embedding_deviation
    difference = lab.class_embeddings[target_class] - lab.class_embeddings[class_id]
    standardised = torch.where(deviation > 0, difference / deviation, 0).float()
    order = standardised.abs().argsort(descending=True, stable=True).cpu().numpy()
    random = random_generator(lab.spec.seed, class_id, target_class, "embedding translation").permutation(len(order))
    for way, places in ((EMBEDDING_SET, order), (EMBEDDING_CHANCE, random)):
        for size in _sizes(len(order)):
            weights = torch.zeros_like(standardised)
            chosen = torch.from_numpy(np.array(places[:size])).to(weights.device)
            weights[chosen] = standardised[chosen]
            yield TranslationStep(way, Direction(weights.new_zeros(generator.z_dim), weights), 1.0, size)


def _sizes(n_dimensions: int) -> list[int]:
    """Return sizes of sets, evenly spaced among those of sequential sets."""
    sizes = set_sizes(n_dimensions)
    places = np.linspace(0, len(sizes) - 1, min(TESTED_SIZES, len(sizes))).round().astype(int)
    return [sizes[place] for place in places]


@torch.inference_mode()
def _tested(
    lab: Lab, options: DirectionOptions, class_id: int, target_class: int, steps: Sequence[TranslationStep]
) -> Iterator[Row]:
    """Yield the flip rate after each step, on latents that chose nothing."""
    if not steps:
        return
    generator = lab.generator
    z = _latents(lab, options, class_id, tested=True)
    stay = Direction.none(generator), 0.0
    every = [stay, *((step.direction, step.strength) for step in steps)]
    images = moved_images(generator, z, class_ids_of(class_id, z), every, DimensionUnits.of(generator), lab.batch_size)
    logs = torch.cat([lab.evaluator.log_probabilities(batch).cpu() for _, batch in images])
    before, *after = logs.split(len(z))
    is_target_before = float((before.argmax(dim=1) == target_class).double().mean())
    for step, rows in zip(steps, after, strict=True):
        yield {
            "class_id": class_id,
            "target_class": target_class,
            "way": step.way,
            "n_dimensions": step.n_dimensions,
            "strength": step.strength,
            "flip_rate": float((rows.argmax(dim=1) == target_class).double().mean()),
            "target_probability": float(rows[:, target_class].exp().mean()),
            "flip_rate_before": is_target_before,
            "n_samples": len(z),
        }
