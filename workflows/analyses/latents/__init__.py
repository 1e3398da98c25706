"""Effects of each dimension of the latent code and of the class embedding on concepts (Li et al. 2020)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I16, I32, TEXT, Columns, Table, with_stderr
from workflows.interface import Analysis

Space = Literal["latent", "embedding"]
CLASS_SOURCE, AREA_SOURCE, ATTRIBUTE_SOURCE = "class", "areas", "attributes"
"""Sources of concepts besides functions of the user."""
TARGETS = {
    "activations": "mean features of each channel",
    "images": "change of the pixels",
    "concepts": "effects on all concepts",
}
"""Measured quantities that closed forms are compared with, in words."""


@dataclasses.dataclass(frozen=True)
class LatentOptions:
    """Options of every analysis of latent and embedding dimensions."""

    latent_concepts: tuple[str, ...] = option(
        (CLASS_SOURCE, AREA_SOURCE, ATTRIBUTE_SOURCE),
        "Concepts that images are scored by: class (its log-odds), areas (of the segmenter's labels), attributes "
        "(measured on the pixels), or your own function of images as package.module:function.",
    )
    latent_spaces: tuple[Space, ...] = option(
        ("latent", "embedding"),
        "Spaces whose dimensions are changed: latent, the latent code; embedding, the class embedding.",
    )
    latent_dimensions: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (), "Dimensions of each space that are changed one at a time; by default all."
    )
    latent_grid: tuple[float, ...] = option(
        (-3.0, -1.5, 0.0, 1.5, 3.0),
        "Values that a dimension is set to, ascending, in its standard deviations.",
        is_distinct=True,
    )
    latent_samples: Count = option(2, "Latents per class in which every dimension is set to every value.")
    latent_observed: Annotated[int, Field(ge=2)] = option(
        64, "Unchanged images per class, for observational correlations and the standard deviation of each concept."
    )


CONCEPT: Columns = {"concept": (TEXT, "name of the concept")}
DIMENSION: Columns = {
    "space": (TEXT, "latent: the latent code; embedding: the class embedding"),
    "dimension": (I32, "index of the dimension in its space"),
}

LATENTS_TABLE = Table(
    "latents",
    ("class_id", "space", "dimension", "concept"),
    {
        **CLASS,
        **DIMENSION,
        **CONCEPT,
        **with_stderr("effect", "mean slope of the score over the grid, per standard deviation of the dimension"),
        "effect_size": (
            F32,
            "effect in standard deviations of the score over unchanged images of the class; null where fewer than a "
            "tenth of these differ from the commonest score",
        ),
        **with_stderr("rank_correlation", "mean rank correlation of the score with the value of the dimension"),
        "p_value": (F32, "two-sided, of the test that the mean slope is zero; null for a single latent"),
        "q_value": (F32, "p_value, adjusted by Benjamini and Hochberg over dimensions and concepts of the class"),
        "observed_correlation": (
            F32,
            "rank correlation of the score with the dimension over unchanged images; null for embedding, which a class "
            "has only one of",
        ),
        "n_samples": (I32, "number of latents behind effect and rank_correlation"),
        "n_observed": (I32, "number of unchanged images"),
    },
)
DIMENSION_CHANGES_TABLE = Table(
    "dimension_changes",
    ("class_id", "space", "dimension"),
    {
        **CLASS,
        **DIMENSION,
        **with_stderr(
            "change",
            "mean absolute difference of a pixel between the ends of the grid, as a share of the range from black to "
            "white, per standard deviation",
        ),
        "n_samples": (I32, "number of latents"),
    },
)
LATENT_PREDICTIONS_TABLE = Table(
    "latent_predictions",
    ("class_id", "site", "space", "target"),
    {
        **CLASS,
        "site": (I16, "index of the site whose closed-form derivatives predict"),
        "space": DIMENSION["space"],
        "target": (
            TEXT,
            "what is predicted: activations, the slope of each channel's mean features; images, the change of the "
            "pixels; concepts, the root mean square effect size",
        ),
        "rank_correlation": (
            F32,
            "rank correlation with the derivatives of expected activations: of each channel for activations, else of "
            "their root mean square over channels",
        ),
        "null_mean": (F32, "mean rank correlation if the predictions of dimensions are permuted"),
        "null_std": (F32, "its standard deviation"),
        "p_value": (F32, "two-sided, over permutations"),
        "n_dimensions": (I32, "number of dimensions"),
    },
)

LATENTS = Analysis(
    "latents",
    "Latent dimensions",
    options=LatentOptions,
    tables=(LATENTS_TABLE, DIMENSION_CHANGES_TABLE, LATENT_PREDICTIONS_TABLE),
    functions=("latent_concepts",),
    needs=("evaluator",),
    uses=("segmenter",),
    classes_per_shard=4,
    work="workflows.analyses.latents.work:LatentsWork",
    results="workflows.analyses.latents.results:LatentsResults",
    comparison="workflows.analyses.latents.comparison:LatentsComparison",
)
