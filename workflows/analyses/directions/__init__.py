"""Directions that steer a concept: small sets of dimensions, against SeFa, GANSpace and chance (Li et al. 2020)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I32, TEXT, Columns, Table, with_stderr
from workflows.analyses.class_metrics import ManifoldOptions
from workflows.analyses.latents import CONCEPT, DIMENSION, LATENTS, LatentOptions
from workflows.interface import Analysis

SEQUENTIAL, OPTIMISED, BOTTOM, RANDOM, SEFA, GANSPACE = WAYS = (
    "sequential",
    "optimised",
    "bottom",
    "random",
    "sefa",
    "ganspace",
)
"""Ways to a direction for a concept."""
WAY_WORDS = {
    SEQUENTIAL: "sequential set",
    OPTIMISED: "optimised set",
    BOTTOM: "dimensions with the smallest effects",
    RANDOM: "random set",
    SEFA: "best of SeFa",
    GANSPACE: "best of GANSpace",
}
SETS = (SEQUENTIAL, OPTIMISED)
"""Ways to a controlling set, which can be empty."""
LATENT_SET, LATENT_CHANCE, EMBEDDING_SET, EMBEDDING_CHANCE = TRANSLATION_WAYS = (
    "latent",
    "random latent",
    "embedding",
    "random embedding",
)
"""Ways to translate images of a class into another."""


@dataclasses.dataclass(frozen=True)
class DirectionOptions(ManifoldOptions, LatentOptions):
    """Options of the analysis ``directions``."""

    direction_classes: Count = option(
        30,
        "Number of evenly spaced classes of the generator whose effects of single dimensions choose the sequential "
        "sets.",
    )
    direction_search_latents: Annotated[int, Field(ge=2)] = option(
        16, "Latents, spread over all classes, on which directions are chosen; twice as many others confirm them."
    )
    direction_steps: Annotated[int, Field(ge=0)] = option(6, "Optimisation steps per concept; 0 skips optimised sets.")
    direction_strengths: tuple[Annotated[float, Field(gt=0)], ...] = option(
        (1.0, 2.0, 4.0),
        "Lengths of steps along a direction, ascending, in standard deviations; directions are chosen by the middle "
        "one.",
        is_distinct=True,
    )
    direction_latents: Count = option(2, "Held-out latents per class that take every step.")
    direction_random_sets: Count = option(6, "Random sets of each size, the same for all classes.")
    translation_partners: Annotated[int, Field(ge=0)] = option(
        1, "Classes that each class is translated into: those with the closest embeddings."
    )
    translation_latents: Annotated[int, Field(ge=2)] = option(
        8, "Latents per class on which a translation is optimised, and as many others on which it is tested."
    )


SPACE: Columns = {"space": DIMENSION["space"]}
WAY: Columns = {
    "way": (
        TEXT,
        "sequential or optimised: controlling set of the concept; bottom: as many dimensions, of the smallest effects; "
        "random: random set of as many; sefa or ganspace: the best for the concept among the leading directions",
    )
}

DIRECTIONS_TABLE = Table(
    "directions",
    ("class_id", "concept", "space", "way", "draw", "strength"),
    {
        **CLASS,
        **CONCEPT,
        **SPACE,
        **WAY,
        "draw": (I32, "number of the random set; 0 for the other ways"),
        "strength": (F32, "length of the step in standard deviations"),
        "n_dimensions": (I32, "dimensions that the direction moves"),
        **with_stderr("change", "mean change of the concept's score"),
        "change_size": (F32, "change in standard deviations of the score over unchanged images of the class"),
        "off_target": (
            F32,
            "mean over all other concepts of the size of the mean change over latents, in standard deviations",
        ),
        "pixel_change": (F32, "mean absolute change of a pixel, as a share of the range from black to white"),
        "locality": (F32, "1 minus the share of the image that the change covers"),
        "class_retention": (F32, "mean of min(1, p_after / p_before) for the probability of the class"),
        "realism": (F32, "mean closeness to real images of the class; null without real images"),
        "realism_before": (F32, "the same of the images before the step"),
        "n_samples": (I32, "number of latents"),
    },
)
DIRECTION_RESCORING_TABLE = Table(
    "direction_rescoring",
    ("class_id", "concept", "space", "way", "scored_concept"),
    {
        **CLASS,
        **CONCEPT,
        **SPACE,
        **WAY,
        "scored_concept": (TEXT, "concept that the images are scored by"),
        "change_size": (F32, "its mean change after a step of the middle strength, in standard deviations"),
    },
)
CONTROLLING_SETS_TABLE = Table(
    "controlling_sets",
    ("class_id", "concept", "space", "way"),
    {
        **CLASS,
        **CONCEPT,
        **SPACE,
        **WAY,
        "dimensions": (pa.list_(pa.int32()), "dimensions of the set, the same for all classes; empty if none controls"),
        "weights": (pa.list_(pa.float32()), "their signed weights, of norm 1, in standard deviations"),
        "confirmed_change": (F32, "mean change of the concept's score on images that did not choose the set"),
        "confirmation_p_value": (F32, "one-sided, that this change is above zero, times the number of concepts"),
    },
)
TRANSLATIONS_TABLE = Table(
    "translations",
    ("class_id", "target_class", "way", "n_dimensions", "strength"),
    {
        **CLASS,
        "target_class": (I32, "index of the class that images are translated into"),
        "way": (
            TEXT,
            "latent: a step along latent dimensions optimised for the pair; embedding: the embedding dimensions that "
            "differ most between the classes get the target's values; random: as many random ones",
        ),
        "n_dimensions": (I32, "dimensions that change"),
        "strength": (F32, "length of a latent step in standard deviations; 1 for embedding"),
        "flip_rate": (F32, "share of images that the classifier assigns to the target class"),
        "target_probability": (F32, "mean probability of the target class"),
        "flip_rate_before": (F32, "flip_rate of the unchanged images"),
        "n_samples": (I32, "number of latents"),
    },
)

DIRECTIONS = Analysis(
    "directions",
    "Directions that steer concepts",
    options=DirectionOptions,
    tables=(DIRECTIONS_TABLE, DIRECTION_RESCORING_TABLE, CONTROLLING_SETS_TABLE, TRANSLATIONS_TABLE),
    functions=("latent_concepts",),
    needs=("evaluator",),
    uses=("segmenter", "real_images"),
    shows=("manifold_features",),
    axes=("class_id", "space"),
    unit="spaces of classes",
    after=(LATENTS.name,),
    classes_per_shard=50,
    work="workflows.analyses.directions.work:DirectionsWork",
    results="workflows.analyses.directions.results:DirectionsResults",
    comparison="workflows.analyses.directions.comparison:DirectionsComparison",
    command="workflows.analyses.directions.command:latents",
)


def chosen_strength(options: DirectionOptions) -> float:
    """Return the length of the step by which directions are chosen: the middle one."""
    return options.direction_strengths[len(options.direction_strengths) // 2]
