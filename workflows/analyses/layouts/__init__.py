"""Images by what their pixels should show: whole layouts, and strokes painted on an image (Xu and Zheng 2021)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I32, I64, TEXT, Table
from workflows.analyses.class_metrics import ManifoldOptions
from workflows.analyses.semantics import FeatureMapOptions
from workflows.interface import Analysis

CLOSEST, OPTIMISED, BEST_OF_MANY = "closest", "optimised", "best_of_many"
"""Ways to an image with a layout: the closest of a few draws; that one optimised; the closest of as many draws as
optimisation has passes."""
WAY_WORDS = {
    CLOSEST: "the closest of a few draws",
    OPTIMISED: "the same, optimised",
    BEST_OF_MANY: "the closest of many draws",
}


@dataclasses.dataclass(frozen=True)
class LayoutOptions(ManifoldOptions, FeatureMapOptions):
    """Options of the analysis ``layouts``."""

    layouts_per_class: Annotated[int, Field(ge=0)] = option(
        1, "Layouts per class that an image is optimised for: label maps of other images of the class."
    )
    layout_draws: Count = option(10, "Random latents, of which the one with the closest layout is optimised.")
    layout_steps: Count = option(50, "Steps by which latents are optimised for a layout, or for a stroke.")
    strokes_per_class: Annotated[int, Field(ge=0)] = option(
        2, "Strokes per class: discs in an image, painted with a label that other images of the class have there."
    )
    stroke_way: Literal["features", "site_latents"] = option(
        "features",
        "What is optimised for a stroke: features, the latent code and the features of one site; or site_latents, the "
        "latents of every site, as published.",
    )


LAYOUTS_TABLE = Table(
    "layouts",
    ("class_id", "layout", "way"),
    {
        **CLASS,
        "layout": (I32, "number of the layout"),
        "way": (
            TEXT,
            "closest: image of the closest of a few latents; optimised: the same latents optimised; best_of_many: "
            "image of the closest of as many latents as optimisation has passes",
        ),
        "passes": (I32, "forward passes of an image that this takes; a step of optimisation counts as three"),
        "pixels": (I64, "pixels of the layout"),
        "agreeing": (I64, "of these, pixels to which the segmenter gives the label of the layout"),
        "realism": (F32, "closeness to real images of the class; null without real images"),
        "pngs": (pa.list_(pa.binary()), "the layout, and the image; null except for the first layout"),
    },
)

STROKES_TABLE = Table(
    "strokes",
    ("class_id", "stroke"),
    {
        **CLASS,
        "stroke": (I32, "number of the stroke, and index of the image's latent"),
        "label": (TEXT, "name of the label that is painted"),
        "pixels": (I64, "pixels of the stroke"),
        "before": (I64, "of these, pixels to which the segmenter gives the label before the edit"),
        "after": (I64, "of these, pixels to which it gives the label after the edit"),
        "outside_pixels": (I64, "pixels outside the stroke"),
        "outside_kept": (I64, "of these, pixels whose label stays the same"),
        "change": (F32, "mean absolute change of a pixel in the stroke, as a share of the range from black to white"),
        "outside_change": (F32, "mean absolute change of a pixel outside of it"),
        "realism_before": (F32, "closeness of the image to real images of the class; null without real images"),
        "realism_after": (F32, "closeness of the edited image"),
        "pngs": (pa.list_(pa.binary()), "image, stroke, and edited image; null except for the first stroke"),
    },
)

LAYOUTS = Analysis(
    "layouts",
    "Layouts and strokes",
    options=LayoutOptions,
    tables=(LAYOUTS_TABLE, STROKES_TABLE),
    needs=("segmenter",),
    uses=("real_images",),
    shows=("manifold_features",),
    classes_per_shard=4,
    work="workflows.analyses.layouts.work:LayoutsWork",
    results="workflows.analyses.layouts.results:LayoutsResults",
    comparison="workflows.analyses.layouts.comparison:LayoutsComparison",
    command="workflows.analyses.layouts.command:sample",
)
