"""Responses of a class to interventions on dimensions, as every analysis of latent dimensions needs them."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.latents.concepts import (
    AreaScores,
    AttributeScores,
    ClassScores,
    ConceptScores,
    FunctionScores,
    JoinedScores,
)
from cawa_core.latents.dimensions import LATENT, Responses, responses
from cawa_core.latents.effects import Effects, effects_of
from cawa_core.registry import user_function
from cawa_core.semantics.features import default_sites
from cawa_core.statistics.correlation import spearman
from workflows.analyses.latents import AREA_SOURCE, ATTRIBUTE_SOURCE, CLASS_SOURCE, LatentOptions
from workflows.lab import Lab

Array = NDArray[np.float64]

FIRST_OBSERVED = 9 * 10**6
"""Index of the first latent of the unchanged images."""
LEAST_VARYING = 0.1
"""Share of the unchanged images of a class whose score must differ from the commonest one, for a concept to vary."""
SOURCES = (CLASS_SOURCE, AREA_SOURCE, ATTRIBUTE_SOURCE)


def concept_scores(lab: Lab, options: LatentOptions) -> JoinedScores:
    """Return the scores by the concepts of the options; areas of labels if there is a segmenter.

    Raises:
        InputError: an unknown source, a function that cannot be imported, or two concepts of one name.
    """
    sources: list[ConceptScores] = []
    for name in options.latent_concepts:
        if ":" in name:
            sources.append(FunctionScores(name, user_function("concept", name)))
        elif name == CLASS_SOURCE:
            sources.append(ClassScores(lab.evaluator))
        elif name == ATTRIBUTE_SOURCE:
            sources.append(AttributeScores(lab.generator.image_channels))
        elif name == AREA_SOURCE:
            sources += [AreaScores(lab.labeller)] if lab.labeller is not None else []
        else:
            raise InputError(
                f"latent_concepts must be among {', '.join(SOURCES)} or package.module:function; got {name!r}"
            )
    if not sources:
        got = "areas without a segmenter" if options.latent_concepts else "none"
        raise InputError(f"latent_concepts must name something to score images by; got {got}")
    return JoinedScores(sources)


@torch.inference_mode()
def require_concepts(lab: Lab, options: LatentOptions) -> None:
    """Check the concepts; functions of the user are tried on two images.

    Raises:
        InputError: as :func:`concept_scores`, or a function fails or returns something else than scores.
    """
    sources = [source for source in concept_scores(lab, options).sources if isinstance(source, FunctionScores)]
    if sources:
        z = lab.latents(lab.class_ids[0], 2)
        ids = class_ids_of(lab.class_ids[0], z)
        images = lab.generator(z, ids)
        for source in sources:
            source.scores(images, ids)


def spaces_of(generator: Generator, options: LatentOptions) -> list[str]:
    """Return the spaces whose dimensions are changed; not the embedding of one that takes class indices."""
    return [space for space in options.latent_spaces if space == LATENT or generator.takes_embeddings]


def dimensions_of(generator: Generator, options: LatentOptions) -> list[tuple[str, int]]:
    """Return space and index of the dimensions that are changed."""
    spaces = spaces_of(generator, options)
    sizes = {space: generator.z_dim if space == LATENT else generator.embed_dim for space in spaces}
    return [
        (space, index)
        for space, size in sizes.items()
        for index in sorted(set(options.latent_dimensions)) or range(size)
    ]


def require_dimensions(generator: Generator, options: LatentOptions) -> None:
    """Check that the generator has the dimensions, and that the grid ascends.

    Raises:
        InputError: a space is missing, a dimension does not exist, or the grid has fewer than two values or descends.
    """
    if not options.latent_spaces or len(set(options.latent_spaces)) < len(options.latent_spaces):
        raise InputError("latent_spaces must name latent, embedding or both, each once")
    spaces = spaces_of(generator, options)
    if not spaces:
        raise InputError(f"latent_spaces must be latent for {generator.name}, which takes class indices; got embedding")
    smallest = min(generator.z_dim if space == LATENT else generator.embed_dim for space in spaces)
    for index in options.latent_dimensions:
        if index >= smallest:
            raise InputError(
                f"latent_dimensions must be in 0..{smallest - 1} for {' and '.join(spaces)} of "
                f"{generator.name}; got {index}"
            )
    grid = options.latent_grid
    if len(grid) < 2 or list(grid) != sorted(grid):
        raise InputError(f"latent_grid must be at least two ascending values; got {list(grid)}")


@dataclasses.dataclass(frozen=True)
class ClassResponses:
    """Responses of a class to interventions on all dimensions of the options.

    Attributes:
        effects: effects on all concepts ``[D, concepts]``.
        deviation: standard deviation of each concept over unchanged images ``[concepts]``; 0 if it hardly varies.
        observed: rank correlation of each latent dimension with each concept over these ``[z_dim, concepts]``.
        responses: pixel changes and activations.
    """

    effects: Effects
    deviation: Array
    observed: Array
    responses: Responses

    @cached_property
    def effect_sizes(self) -> Array:
        """Effects in standard deviations of the scores; NaN for a concept that is constant ``[D, concepts]``."""
        return sizes_of(self.effects.effect, self.deviation)


def sizes_of(effect: Array, deviation: Array) -> Array:
    """Return effects ``[..., concepts]`` in standard deviations ``[concepts]``; NaN where these are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviation > 0, effect / deviation, np.nan)


def sites_of(generator: Generator) -> list[int]:
    """Return the sites with a closed form whose channels are compared with it."""
    return [site for site in default_sites(generator) if generator.is_affine(site)]


def responses_of(lab: Lab, options: LatentOptions, class_id: int) -> ClassResponses:
    """Measure the responses of a class."""
    concepts = concept_scores(lab, options)
    codes, scores = observed_scores(lab, options, class_id)
    deviation = deviation_of(scores)
    answered = responses(
        lab.generator,
        concepts,
        lab.latents(class_id, options.latent_samples),
        class_id,
        dimensions_of(lab.generator, options),
        options.latent_grid,
        sites=sites_of(lab.generator),
        batch_size=lab.batch_size,
    )
    effects = effects_of(answered.scores, options.latent_grid, deviation)
    return ClassResponses(effects, deviation, spearman(codes.T[:, None], scores.T[None]), answered)


def concept_deviation(lab: Lab, options: LatentOptions, class_id: int) -> Array:
    """Return the standard deviation of each concept over unchanged images of a class: ``[concepts]``."""
    return deviation_of(observed_scores(lab, options, class_id)[1])


def deviation_of(scores: Array) -> Array:
    """Return the standard deviation of each concept over images ``[n, concepts]``; 0 for one that hardly varies.

    A label that few images of a class show has a tiny deviation, and any change would be huge beside it.
    """
    varying = np.array([(column != _commonest(column)).mean() >= LEAST_VARYING for column in scores.T])
    return np.where(varying, scores.std(axis=0, ddof=1), 0.0)


def _commonest(values: Array) -> float:
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])


def observed_scores(lab: Lab, options: LatentOptions, class_id: int) -> tuple[Array, Array]:
    """Return latents ``[n, z_dim]`` of unchanged images of a class, and their scores ``[n, concepts]``."""
    names = ("latent_concepts", "latent_observed")
    key = ("observed scores", class_id, *(getattr(options, name) for name in names), digest_of_labels(lab))
    return lab.memo.once(key, lambda: _observed(lab, options, class_id))


@torch.inference_mode()
def _observed(lab: Lab, options: LatentOptions, class_id: int) -> tuple[Array, Array]:
    concepts = concept_scores(lab, options)
    indices = range(FIRST_OBSERVED, FIRST_OBSERVED + options.latent_observed)
    z = lab.generator.sample_latents(lab.spec.seed, class_id, indices)
    parts = []
    for rows in z.split(lab.batch_size):
        ids = class_ids_of(class_id, rows)
        parts.append(concepts.scores(lab.generator(rows, ids), ids).double().cpu())
    return z.double().cpu().numpy(), torch.cat(parts).numpy()


def digest_of_labels(lab: Lab) -> str:
    """Return what the labels of pixels depend on."""
    return lab.labeller.digest if lab.labeller else ""
