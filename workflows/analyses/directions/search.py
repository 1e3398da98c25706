"""Search for the directions of every concept, on images of all classes of the generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.directions.baselines import ganspace_directions, sefa_directions
from cawa_core.directions.direction import Direction
from cawa_core.directions.manipulation import concept_changes, concept_derivatives
from cawa_core.directions.sets import best_of, bottom_set, optimised_sets, random_set, sequential_set, sparse
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, class_ids_of, spread_classes
from cawa_core.latents.concepts import ConceptScores
from cawa_core.latents.dimensions import LATENT, DimensionUnits
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.pooling import pooled, rise_p_value
from cawa_core.statistics.verdicts import SIGNIFICANT
from cawa_core.tables import Manifest
from workflows.analyses.directions import (
    BOTTOM,
    GANSPACE,
    OPTIMISED,
    RANDOM,
    SEFA,
    SEQUENTIAL,
    DirectionOptions,
    chosen_strength,
)
from workflows.analyses.latents import LATENTS_TABLE, LatentOptions
from workflows.analyses.latents.measurements import (
    concept_scores,
    digest_of_labels,
    dimensions_of,
    require_concepts,
    require_dimensions,
    responses_of,
)
from workflows.lab import Lab

Array = NDArray[np.float64]

FIRST_SEARCHED = 10**7
"""Index of the first of the latents, shared by all classes, on which directions are chosen and confirmed."""
LEADING = 10
"""Directions of SeFa and GANSpace among which the best for a concept is chosen."""
FEATURE_LATENTS = 16
"""Latents per class whose features GANSpace decomposes."""
FEATURE_SITE = 0
"""Site of these features; early ones have the directions that move the most."""
SMALL_STEP = 1e-3
"""Length of the step at which an optimisation starts, so that all directions are alike."""


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """Mean change of a concept by its controlling set, on images that did not choose the set.

    Attributes:
        change: the change after a step of the middle strength.
        p_value: one-sided, times the number of concepts.
    """

    change: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the set controls the concept."""
        return self.p_value <= SIGNIFICANT


@dataclasses.dataclass(frozen=True)
class ConceptDirections:
    """Directions of one concept in one space.

    Attributes:
        by_way: weights ``[D]`` of each way; zero for a controlling set that is empty. Dimensions with the smallest
            effects are left out where they would overlap the controlling set.
        random: random sets as large as the first controlling set, or of all dimensions if there is none.
        confirmations: confirmation test of each controlling set.
    """

    by_way: Mapping[str, Tensor]
    random: Sequence[Tensor]
    confirmations: Mapping[str, Confirmation]

    @property
    def all_ways(self) -> list[tuple[str, int, Tensor]]:
        """Way, draw and weights of all directions that are not empty."""
        single = [(way, 0, weights) for way, weights in self.by_way.items() if bool(weights.any())]
        return single + [(RANDOM, draw, weights) for draw, weights in enumerate(self.random)]


def require_search(lab: Lab, options: DirectionOptions) -> None:
    """Check the options of a search.

    Raises:
        InputError: dimensions, grid or concepts do not suit the generator, or strengths do not ascend.
    """
    require_dimensions(lab.generator, options)
    require_concepts(lab, options)
    strengths = list(options.direction_strengths)
    if not strengths or strengths != sorted(strengths):
        raise InputError(f"direction_strengths must ascend; got {strengths}")


def directions_of(lab: Lab, options: DirectionOptions, space: str, earlier: Manifest | None) -> list[ConceptDirections]:
    """Return the directions of every concept; a process searches once.

    Args:
        lab: models.
        options: options of the audit.
        space: latent or embedding.
        earlier: results that may have the effects of single dimensions; effects of other classes are measured.
    """
    values = (getattr(options, field.name) for field in dataclasses.fields(DirectionOptions))
    key = ("directions of concepts", *values, digest_of_labels(lab), space)
    return lab.memo.once(key, lambda: _Search(lab, options, space, earlier).directions())


def measured_classes(generator: Generator, options: DirectionOptions) -> list[int]:
    """Return the classes in which effects of single dimensions are measured, whichever are audited."""
    count = min(options.direction_classes, generator.n_classes)
    return [int(class_id) for class_id in spread_classes(count, generator.n_classes)]


class _Search:
    """Search for the directions of all concepts in one space."""

    def __init__(self, lab: Lab, options: DirectionOptions, space: str, earlier: Manifest | None) -> None:
        self.lab = lab
        self.options = options
        self.space = space
        self.earlier = earlier
        self.generator = lab.generator
        self.concepts: ConceptScores = concept_scores(lab, options)
        self.units = DimensionUnits.of(lab.generator)
        self.size = lab.generator.z_dim if space == LATENT else lab.generator.embed_dim
        self.places = [index for name, index in dimensions_of(lab.generator, options) if name == space]
        self.strength = chosen_strength(options)
        count = options.direction_search_latents
        self.chosen = self._sample(0, count)
        self.confirming = self._sample(count, 2 * count)

    def _sample(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return latents and classes that are spread over all classes."""
        start = FIRST_SEARCHED + first
        z = self.generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, range(start, start + count))
        return z, spread_classes(count, self.generator.n_classes, z.device)

    def directions(self) -> list[ConceptDirections]:
        """Choose, confirm and compare."""
        effect, q_value = self.effects
        sequential = [
            sequential_set(effect[:, place], q_value[:, place], self._measure(place))
            for place in range(len(self.concepts.concepts))
        ]
        sets = {SEQUENTIAL: torch.stack(sequential)}
        if self.options.direction_steps:
            sets[OPTIMISED] = self._optimised(effect)
        confirmations = {way: self._confirmed(weights) for way, weights in sets.items()}
        for way, weights in sets.items():
            weights[[not each.is_significant for each in confirmations[way]]] = 0
        leading = self._leading()
        return [
            self._of_concept(
                place,
                {way: weights[place] for way, weights in sets.items()},
                {way: of_way[place] for way, of_way in confirmations.items()},
                leading,
            )
            for place in range(len(self.concepts.concepts))
        ]

    def _of_concept(
        self,
        place: int,
        sets: Mapping[str, Tensor],
        confirmations: Mapping[str, Confirmation],
        leading: Mapping[str, tuple[Tensor, Array]],
    ) -> ConceptDirections:
        sizes = [int((weights != 0).sum()) for weights in sets.values()]
        size = next((size for size in sizes if size), len(self.places))
        by_way = dict(sets)
        if any(sizes) and 2 * size <= len(self.places):
            by_way[BOTTOM] = bottom_set(self.effects[0][:, place], size, self.places)
        by_way |= {way: best_of(list(weights), changes[..., place]) for way, (weights, changes) in leading.items()}
        random = []
        for draw in range(self.options.direction_random_sets):
            source = random_generator(self.lab.spec.seed, SHARED_CLASS, draw, f"{self.space} set of {size}")
            random.append(random_set(self.size, size, source, self.places))
        return ConceptDirections(by_way, random, confirmations)

    @cached_property
    def effects(self) -> tuple[Array, Array]:
        """Effects of the dimensions of the space over some classes, and their adjusted p-values ``[D, concepts]``."""
        class_ids = measured_classes(self.generator, self.options)
        dimensions = dimensions_of(self.generator, self.options)
        recorded = self._recorded(class_ids)
        parts = [recorded.get(class_id) or self._measured(class_id) for class_id in class_ids]
        effect, stderr = (np.stack([part[place] for part in parts]) for place in range(2))
        n_latents = np.full(len(parts), self.options.latent_samples)
        mean, _, p_value = pooled(effect, stderr, n_latents)
        q_value = adjusted(p_value.ravel()).reshape(p_value.shape)
        whole = np.zeros((self.size, mean.shape[1])), np.ones((self.size, mean.shape[1]))
        for row, (space, index) in enumerate(dimensions):
            if space == self.space:
                whole[0][index], whole[1][index] = mean[row], q_value[row]
        return whole

    def _measured(self, class_id: int) -> tuple[Array, Array]:
        """Return effects and standard errors of a class in both spaces, rounded as the table has them."""

        def measure() -> tuple[Array, Array]:
            effects = responses_of(self.lab, self.options, class_id).effects
            return _as_recorded(effects.effect), _as_recorded(effects.effect_stderr)

        values = (getattr(self.options, field.name) for field in dataclasses.fields(LatentOptions))
        key = ("effects of dimensions", class_id, *values, digest_of_labels(self.lab))
        return self.lab.memo.once(key, measure)

    def _recorded(self, class_ids: Sequence[int]) -> dict[int, tuple[Array, Array]]:
        """Return effects and standard errors of classes that earlier results have."""
        if self.earlier is None:
            return {}
        rows = self.earlier.rows(LATENTS_TABLE.name, class_ids=list(class_ids)).to_pandas()
        dimensions = dimensions_of(self.generator, self.options)
        order = [(*dimension, concept) for dimension in dimensions for concept in self.concepts.concepts]
        shape = len(dimensions), len(self.concepts.concepts)
        recorded = {}
        for class_id, part in rows.groupby("class_id"):
            ordered = part.set_index(["space", "dimension", "concept"]).loc[order]
            columns = (ordered[name].to_numpy(dtype=np.float64) for name in ("effect", "effect_stderr"))
            effect, stderr = (column.reshape(shape) for column in columns)
            recorded[int(class_id)] = effect, stderr
        return recorded

    def _changes(self, sets: Tensor, sample: tuple[Tensor, Tensor]) -> Tensor:
        """Return the changes of all concepts after a step along each set: ``[sets, n, concepts]``."""
        z, class_ids = sample
        steps = [(self._direction(weights), self.strength) for weights in sets]
        return concept_changes(
            self.generator, self.concepts, z, class_ids, steps, self.units, self.lab.batch_size
        ).cpu()

    def _direction(self, weights: Tensor) -> Direction:
        return Direction.in_space(self.space, weights.to(self.generator.device), self.generator)

    def _measure(self, place: int) -> Callable[[Tensor], Array]:
        """Return the function that measures the mean change of a concept on the chosen sample."""
        return lambda sets: self._changes(sets, self.chosen)[:, :, place].mean(dim=1).numpy()

    def _optimised(self, effect: Array) -> Tensor:
        """Optimise the set of each concept; by the measured effects alone where scores have no gradients."""
        by_effects = sparse(torch.from_numpy(effect.T).float())
        if not self.generator.has_gradients:
            return by_effects
        z, class_ids = self.chosen

        def derivatives(weights: Tensor, step: int) -> Tensor:
            length = self.strength if step else SMALL_STEP
            whole = concept_derivatives(
                self.generator,
                self.concepts,
                z,
                class_ids,
                weights,
                length,
                self.space,
                self.units,
                self.lab.batch_size,
            )
            restricted = torch.zeros_like(whole)
            restricted[:, self.places] = whole[:, self.places]
            return restricted

        shape = len(self.concepts.concepts), self.size
        optimised = optimised_sets(derivatives, *shape, self.options.direction_steps)
        is_optimised = optimised.any(dim=1, keepdim=True)
        return torch.where(is_optimised, optimised, by_effects)

    def _confirmed(self, sets: Tensor) -> list[Confirmation]:
        """Test each concept's set on other images; an empty set changes nothing."""
        confirmations = [Confirmation(0.0, 1.0)] * len(sets)
        used = [place for place, weights in enumerate(sets) if bool(weights.any())]
        if used:
            changes = self._changes(sets[used], self.confirming)
            for row, place in enumerate(used):
                values = changes[row, :, place].numpy()
                p_value = min(1.0, rise_p_value(values) * len(sets))
                confirmations[place] = Confirmation(float(values.mean()), p_value)
        return confirmations

    def _leading(self) -> dict[str, tuple[Tensor, Array]]:
        """Return the leading directions of the baselines, and the change of every concept along and against each."""
        leading = {}
        if self.lab.is_affine:
            leading[SEFA] = sefa_directions(self.generator, self.space, self.units, LEADING)
        if self.space == LATENT:
            leading[GANSPACE] = self._ganspace()
        return {way: (weights, self._both_ways(weights)) for way, weights in leading.items()}

    def _both_ways(self, weights: Tensor) -> Array:
        changes = self._changes(torch.cat([weights, -weights]), self.chosen).mean(dim=1).numpy()
        return np.asarray(changes.reshape(2, len(weights), -1))

    @torch.inference_mode()
    def _ganspace(self) -> Tensor:
        features, latents = [], []
        for class_id in measured_classes(self.generator, self.options):
            z = self.lab.latents(class_id, FEATURE_LATENTS)
            ids = class_ids_of(class_id, z)
            parts = [
                self.generator.run_to(FEATURE_SITE, rows, part).features.float().cpu()
                for rows, part in zip(z.split(self.lab.batch_size), ids.split(self.lab.batch_size), strict=True)
            ]
            features.append(torch.cat(parts))
            latents.append(z.cpu() / self.units.latent_deviation)
        return ganspace_directions(features, torch.cat(latents), LEADING)


def _as_recorded(values: Array) -> Array:
    return values.astype(np.float32).astype(np.float64)
