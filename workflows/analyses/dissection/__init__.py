"""Units against concepts, class by class: where each channel is on, and which thing it draws there (Bau et al.)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, F64, I32, I64, SITE, TEXT, Columns, Table
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class ThresholdOptions:
    """Options of every analysis that asks where units are on."""

    dissection_threshold_latents: Count = option(
        960, "Images on which the thresholds of units are chosen, spread over all classes of the generator."
    )
    dissection_thresholds: Literal["information", "quantile"] = option(
        "information",
        "Threshold of a unit: information, the one that tells most about each concept; or quantile, which 0.5% of the "
        "pixels exceed, as published.",
    )


@dataclasses.dataclass(frozen=True)
class DissectionOptions(ThresholdOptions):
    """Options of the analysis ``dissection``."""

    dissection_latents: Count = option(64, "Images per class in which units are compared with concepts.")


UNIT_AND_CONCEPT: Columns = {
    **SITE,
    "channel": (I32, "index of the channel at its site"),
    "concept": (TEXT, "name of the concept"),
    "threshold": (F32, "the unit is on where its features, enlarged to the image, exceed it"),
}
COUNTS: Columns = {
    "on": (I64, "pixels where the unit is on"),
    "present": (I64, "pixels where the concept is"),
    "both": (I64, "pixels where the unit is on and the concept is"),
    "both_by_chance": (F64, "mean of both over all permutations of the label maps among images of the class"),
    "both_by_chance_variance": (F64, "variance of both over these permutations"),
    "both_by_chance_third_moment": (F64, "third central moment of both over these permutations"),
}

DISSECTION_TABLE = Table(
    "dissection",
    ("class_id", "site", "channel", "concept"),
    {
        **CLASS,
        **UNIT_AND_CONCEPT,
        **COUNTS,
        "iou": (F32, "intersection over union, both / (on + present - both)"),
        "iou_by_chance": (F32, "the same with both_by_chance for both"),
        "pixels": (I64, "number of pixels of the images"),
    },
)

DISSECTION = Analysis(
    "dissection",
    "Dissection",
    options=DissectionOptions,
    tables=(DISSECTION_TABLE,),
    needs=("segmenter",),
    classes_per_shard=4,
    work="workflows.analyses.dissection.work:DissectionWork",
    results="workflows.analyses.dissection.results:DissectionResults",
    comparison="workflows.analyses.dissection.comparison:DissectionComparison",
    command="workflows.analyses.dissection.command:dissect",
)
