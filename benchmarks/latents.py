"""Measure interventions on latent dimensions against one dimension, one value and one image at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from benchmarks.results import Result, compared, seconds_of
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import START, Conditioning, run_with_features
from cawa_core.latents.dimensions import DimensionUnits, responses
from workflows.analyses.latents import LatentOptions
from workflows.analyses.latents.measurements import concept_scores, dimensions_of, responses_of, sites_of
from workflows.lab import Lab
from workflows.lab.memo import Memo

TIMED_DIMENSIONS = 8
"""Dimensions of each space on which both ways are timed."""
MOST_SECONDS = 300.0


def run() -> Iterator[Result]:
    """Measure the ratio on some dimensions of a class, and the time of all dimensions, concepts and classes."""
    options = LatentOptions(latent_dimensions=tuple(range(TIMED_DIMENSIONS)))
    lab = Lab.open("scenes-biggan", needs=("evaluator", "segmenter"), segmenter="scenes-segmenter")
    dimensions = dimensions_of(lab.generator, options)
    concepts = concept_scores(lab, options)
    sites = sites_of(lab.generator)
    z = lab.latents(7, options.latent_samples)

    def together() -> None:
        responses(
            lab.generator, concepts, z, 7, dimensions, options.latent_grid, sites=sites, batch_size=lab.batch_size
        )

    yield dataclasses.replace(
        compared(
            f"effects of {len(dimensions)} dimensions on {len(concepts.concepts)} concepts and all channels, one class",
            "one dimension, value and image at a time",
            together,
            lambda: _one_at_a_time(lab, options),
            repeats=5,
        ),
        bounds={"all 64 + 64 dimensions, all concepts, 30 classes, in seconds": (_whole(lab), MOST_SECONDS)},
    )


@torch.inference_mode()
def _one_at_a_time(lab: Lab, options: LatentOptions) -> None:
    """Compute and score every image alone."""
    generator, concepts = lab.generator, concept_scores(lab, options)
    units = DimensionUnits.of(generator)
    for space, index in dimensions_of(generator, options):
        for code in lab.latents(7, options.latent_samples):
            for value in options.latent_grid:
                z = code[None].clone()
                ids = class_ids_of(7, z)
                embedding = generator.class_embedding(ids).clone()
                if space == "latent":
                    z[:, index] = value * units.latent_deviation
                else:
                    embedding[:, index] = units.embedding_mean[index] + value * units.embedding_deviation[index]
                change = Conditioning(START, embedding=embedding, z=z)
                features, images = run_with_features(generator, z, ids, sites_of(generator), [change])
                concepts.scores(images, ids)
                for each in features:
                    each.mean(dim=(2, 3))


def _whole(lab: Lab) -> float:
    """Return the seconds that all dimensions, concepts and classes take."""
    fresh = dataclasses.replace(lab, memo=Memo())
    classes = range(lab.generator.n_classes)
    return round(seconds_of(lambda: [responses_of(fresh, LatentOptions(), class_id) for class_id in classes]), 1)
