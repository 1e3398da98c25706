"""Semantics that maps of a generator's features read off: which pixel shows what (Xu and Zheng 2021)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F64, I32, I64, SITE, TEXT, Columns, Table
from workflows.interface import Analysis

METHODS = {
    "lda": "linear discriminant",
    "ridge": "ridge regression",
    "lse": "LSE",
    "nse1": "NSE-1",
    "nse2": "NSE-2",
}
"""Names of the maps in words: two linear ones in closed form, a linear one by gradient, and two nonlinear ones."""
IN_CLOSED_FORM = ("lda", "ridge")
"""Methods whose maps cost no training steps."""
TEST, LEFT_OUT = "test", "left_out"
"""Images that a map is scored on: new ones, or each training image by the map of all others."""


@dataclasses.dataclass(frozen=True)
class FeatureMapOptions:
    """Options of every analysis that reads labels off the features by maps in closed form."""

    semantics_sites: tuple[int, ...] = option(
        (),
        "Sites whose features are read; by default all, or the last of each resolution if all together have more than "
        "6,000 channels.",
    )
    semantics_training_latents: Count = option(
        960, "Images behind the maps in closed form, spread over all classes of the generator."
    )


@dataclasses.dataclass(frozen=True)
class SemanticOptions(FeatureMapOptions):
    """Options of the analysis ``semantics``."""

    semantics_latents: Count = option(16, "Images per class that maps of the features are scored on.")
    semantics_steps: Annotated[int, Field(ge=0)] = option(
        300, "Steps of 8 new images by which LSE, NSE-1 and NSE-2 are trained; 0 leaves these out."
    )
    semantics_annotated: tuple[Count, ...] = option(
        (1, 4, 8, 16),
        "How many annotated images to train linear maps on as well; each number is tried.",
        is_distinct=True,
    )
    semantics_repeats: Count = option(
        5, "Random draws of the annotated images for each number in --semantics-annotated."
    )
    semantics_transfer_latents: Annotated[int, Field(ge=0)] = option(
        16, "Images of a single class that a map is trained on and then scored on all others; 0 leaves this out."
    )


LABEL_COUNTS: Columns = {
    "predicted": (I64, "pixels that the map gives the label to"),
    "true": (I64, "pixels that the segmenter gives the label to"),
    "both": (I64, "pixels that both give the label to"),
    "iou_sum": (F64, "sum of the IoU of each image over the images that show the label or are predicted to"),
    "n_images": (I32, "number of these images"),
}

SEMANTICS_TABLE = Table(
    "semantics",
    ("class_id", "method", "site", "n_annotated", "repeat", "sample", "label"),
    {
        **CLASS,
        "method": (TEXT, f"map of the features: {', '.join(f'{name} ({words})' for name, words in METHODS.items())}"),
        **SITE,
        "n_annotated": (I32, "number of annotated images that it is trained on; 0 for as many as the options say"),
        "repeat": (I32, "which random choice of annotated images"),
        "sample": (TEXT, "images it is scored on: test, new ones; left_out, training images by the map of all others"),
        "label": (TEXT, "name of the label; nothing where the segmenter sees no concept"),
        **LABEL_COUNTS,
    },
)

SEMANTICS_TRANSFER_TABLE = Table(
    "semantics_transfer",
    ("class_id", "trained_on", "label"),
    {
        **CLASS,
        "trained_on": (I32, "class whose images the linear discriminant is trained on"),
        "label": (TEXT, "name of the label"),
        **LABEL_COUNTS,
    },
)

SEMANTICS = Analysis(
    "semantics",
    "Semantics",
    options=SemanticOptions,
    tables=(SEMANTICS_TABLE, SEMANTICS_TRANSFER_TABLE),
    needs=("segmenter",),
    axes=("class_id", "method"),
    unit="maps of features",
    classes_per_shard=32,
    work="workflows.analyses.semantics.work:SemanticsWork",
    results="workflows.analyses.semantics.results:SemanticsResults",
    comparison="workflows.analyses.semantics.comparison:SemanticsComparison",
    command="workflows.analyses.semantics.command:semantics",
)
