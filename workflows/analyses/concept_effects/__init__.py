"""Causal effects of sets of units on concepts: what is left without them, and what appears with them (Bau et al.)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I32, I64, SITE, TEXT, Columns, Table
from workflows.analyses.dissection import ThresholdOptions
from workflows.interface import Analysis

OPTIMISED, OVERLAP, AWARE, RANDOM = RANKINGS = ("optimised", "overlap", "category_awareness", "random")
"""Rankings of units, of which the first ones are changed together."""
REMOVAL, INSERTION = "removal", "insertion"


@dataclasses.dataclass(frozen=True)
class ConceptEffectOptions(ThresholdOptions):
    """Options of the analysis ``concept_effects``."""

    effect_latents: Count = option(6, "Images per class in which units are removed and inserted.")
    effect_sizes: tuple[Count, ...] = option(
        (1, 4, 16, 64), "How many of the best units to remove together; each number is tried.", is_distinct=True
    )
    effect_inserted: Count = option(32, "Number of units that are inserted together.")
    effect_steps: Annotated[int, Field(ge=0)] = option(
        40, "Steps by which a set of units is optimised for each concept; 0 leaves that set out."
    )
    effect_random_sets: Count = option(2, "Random sets that each set of units is compared with.")


CONCEPT: Columns = {"concept": (TEXT, "name of the concept")}

CONCEPT_EFFECTS_TABLE = Table(
    "concept_effects",
    ("class_id", "concept", "change", "ranking", "draw", "n_units"),
    {
        **CLASS,
        **CONCEPT,
        "change": (
            TEXT,
            "removal: set to zero everywhere; insertion: set, in a square of each image, to the units' "
            "mean features where the concept is",
        ),
        "ranking": (TEXT, "which units: optimised, overlap (IoU), category_awareness (of this class), or random"),
        "draw": (I32, "number of the random set; 0 for the other rankings"),
        "n_units": (I32, "units changed, the first of the ranking, at any site"),
        "n_images": (I32, "images; for removal those that show the concept, for insertion those with a square without"),
        "pixels": (I64, "pixels looked at: of the images, or of the squares"),
        "before": (I64, "of these, pixels that show the concept without a change; 0 in squares"),
        "after": (I64, "of these, pixels that show the concept with the change"),
    },
)
INSERTION_CONTEXTS_TABLE = Table(
    "insertion_contexts",
    ("class_id", "concept", "context"),
    {
        **CLASS,
        **CONCEPT,
        "context": (TEXT, "concept that most pixels of a square show before units of another are inserted there"),
        "n_images": (I32, "images with such a square"),
        "pixels": (I64, "pixels of these squares"),
        "after": (I64, "of these, pixels that show the concept with the first units of the best ranking inserted"),
    },
)
CONCEPT_UNITS_TABLE = Table(
    "concept_units",
    ("class_id", "concept", "site", "channel"),
    {
        **CLASS,
        **CONCEPT,
        **SITE,
        "channel": (I32, "index of the channel at its site"),
        "weight": (F32, "weight in (0, 1] of the unit in the optimised set, the same for all classes; others have 0"),
        "inserted_value": (F32, "mean features of the unit where images of all classes show the concept"),
    },
)

CONCEPT_EFFECTS = Analysis(
    "concept_effects",
    "Causal effects on concepts",
    options=ConceptEffectOptions,
    tables=(CONCEPT_EFFECTS_TABLE, INSERTION_CONTEXTS_TABLE, CONCEPT_UNITS_TABLE),
    needs=("segmenter",),
    axes=("class_id", "concept"),
    unit="concepts of classes",
    classes_per_shard=50,
    work="workflows.analyses.concept_effects.work:ConceptEffectsWork",
    results="workflows.analyses.concept_effects.results:ConceptEffectsResults",
    not_compared="sets of units are chosen for each generator; the comparison of dissection compares units one by one",
)
