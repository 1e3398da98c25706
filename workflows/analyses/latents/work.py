"""Computation of the tables ``latents``, ``dimension_changes`` and ``latent_predictions``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import START, Conditioning, run_with_features
from cawa_core.latents.dimensions import LATENT, DimensionUnits
from cawa_core.latents.drives import drives
from cawa_core.latents.predictions import prediction
from cawa_core.numerics.seeds import random_generator
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.latents import (
    DIMENSION_CHANGES_TABLE,
    LATENT_PREDICTIONS_TABLE,
    LATENTS_TABLE,
    LatentOptions,
)
from workflows.analyses.latents.measurements import (
    ClassResponses,
    concept_scores,
    dimensions_of,
    require_concepts,
    require_dimensions,
    responses_of,
    sites_of,
)
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

PERMUTATIONS = 1000
"""Permutations of dimensions behind the null of a prediction."""
TIMED_IMAGES = 16

Row = dict[str, Any]


class LatentsWork(Work[LatentOptions]):
    """Computation of the tables ``latents``, ``dimension_changes`` and ``latent_predictions``."""

    def check(self, lab: Lab, options: LatentOptions) -> None:
        """Check dimensions, grid and concepts."""
        require_dimensions(lab.generator, options)
        require_concepts(lab, options)

    def run(self, lab: Lab, options: LatentOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Set every dimension to every value in images of some classes."""
        effects: list[Row] = []
        changes: list[Row] = []
        predictions: list[Row] = []
        concepts = concept_scores(lab, options).concepts
        for class_id in shard.class_ids:
            measured = responses_of(lab, options, class_id)
            dimensions = dimensions_of(lab.generator, options)
            effects += effect_rows(options, class_id, dimensions, concepts, measured)
            changes += _change_rows(class_id, dimensions, measured)
            predictions += _prediction_rows(lab, class_id, dimensions, measured)
        tables = (
            (LATENTS_TABLE, effects),
            (DIMENSION_CHANGES_TABLE, changes),
            (LATENT_PREDICTIONS_TABLE, predictions),
        )
        return Output({table.name: rows_of(table.name, rows) for table, rows in tables})

    def cost(self, lab: Lab, options: LatentOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Count images, and rows of every dimension and concept."""
        n_dimensions = len(dimensions_of(lab.generator, options))
        images = n_dimensions * len(options.latent_grid) * options.latent_samples
        concepts = len(concept_scores(lab, options).concepts)
        return Cost(images + options.latent_observed, n_dimensions * concepts)

    def pace(self, lab: Lab, options: LatentOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time images whose features are read and that are scored by all concepts."""
        concepts = concept_scores(lab, options)
        z = lab.latents(lab.class_ids[0], TIMED_IMAGES)
        ids = class_ids_of(lab.class_ids[0], z)

        def scored() -> object:
            change = Conditioning(START, z=z, embedding=lab.generator.class_embedding(ids))
            _, images = run_with_features(lab.generator, z, ids, sites_of(lab.generator), [change])
            return concepts.scores(images, ids)

        return {"scored image": seconds(scored, True) / TIMED_IMAGES}

    def seconds(self, lab: Lab, options: LatentOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = (self.cost(lab, options, class_id, ()).passes for class_id in shard.class_ids)
        return sum(passes) * pace["scored image"]


def effect_rows(
    options: LatentOptions,
    class_id: int,
    dimensions: list[tuple[str, int]],
    concepts: tuple[str, ...],
    measured: ClassResponses,
) -> Iterator[Row]:
    """Yield the rows of ``latents`` of a class."""
    effects = measured.effects
    q_values = adjusted(effects.p_value.ravel()).reshape(effects.p_value.shape)
    for place, (space, dimension) in enumerate(dimensions):
        for column, concept in enumerate(concepts):
            observed = measured.observed[dimension, column] if space == LATENT else np.nan
            yield {
                "class_id": class_id,
                "space": space,
                "dimension": dimension,
                "concept": concept,
                "effect": effects.effect[place, column],
                "effect_stderr": effects.effect_stderr[place, column],
                "effect_size": measured.effect_sizes[place, column],
                "rank_correlation": effects.rank_correlation[place, column],
                "rank_correlation_stderr": effects.rank_correlation_stderr[place, column],
                "p_value": effects.p_value[place, column],
                "q_value": q_values[place, column],
                "observed_correlation": observed,
                "n_samples": options.latent_samples,
                "n_observed": options.latent_observed,
            }


def _change_rows(class_id: int, dimensions: list[tuple[str, int]], measured: ClassResponses) -> Iterator[Row]:
    for place, (space, dimension) in enumerate(dimensions):
        values = measured.responses.changes[:, place]
        yield {
            "class_id": class_id,
            "space": space,
            "dimension": dimension,
            "change": float(values.mean()),
            "change_stderr": standard_error(values),
            "n_samples": len(values),
        }


def _prediction_rows(
    lab: Lab, class_id: int, dimensions: list[tuple[str, int]], measured: ClassResponses
) -> Iterator[Row]:
    """Compare the closed form at each site with what was measured, space by space."""
    generator = lab.generator
    units = DimensionUnits.of(generator)
    embedding = lab.class_embeddings[class_id : class_id + 1]
    changes = measured.responses.changes.mean(axis=0)
    sizes = np.sqrt(np.square(np.nan_to_num(measured.effect_sizes)).mean(axis=1))
    for site, activations in zip(sites_of(generator), measured.responses.activations, strict=True):
        driven = drives(generator.modulation(site), embedding, units)
        for space in dict.fromkeys(space for space, _ in dimensions):
            places = [place for place, (name, _) in enumerate(dimensions) if name == space]
            indices = [dimensions[place][1] for place in places]
            predicted = driven.activation[space][:, indices]
            reaching = np.delete(predicted, list(generator.sites[site].inert_channels), axis=0)
            strength = np.sqrt(np.square(reaching).mean(axis=0))[None]
            random = random_generator(lab.spec.seed, class_id, site, f"permuted {space} dimensions")
            orders = random_orders(len(places), PERMUTATIONS, random)
            pairs = {
                "activations": (predicted, activations[places].T),
                "images": (strength, changes[places][None]),
                "concepts": (strength, sizes[places][None]),
            }
            for target, (left, right) in pairs.items():
                result = prediction(left, right, orders)
                yield {
                    "class_id": class_id,
                    "site": site,
                    "space": space,
                    "target": target,
                    "rank_correlation": result.rank_correlation,
                    "null_mean": result.null_mean,
                    "null_std": result.null_std,
                    "p_value": result.p_value,
                    "n_dimensions": len(places),
                }
