"""Units that go with artifacts, class by class, and what is gained by their removal (Bau et al. 2019, section 4.2)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field

from cawa_core.options import Count, Fraction, option
from cawa_core.tables.schema import CLASS, F32, I32, PROTOCOL, SITE, TEXT, Table
from workflows.interface import Analysis

NONE, ARTIFACT, RANDOM = CHOICES = ("none", "artifact", "random")
"""Sets of units that are removed."""


@dataclasses.dataclass(frozen=True)
class ArtifactUnitOptions:
    """Options of the analysis ``artifact_units``."""

    artifact_latents: Annotated[int, Field(ge=8)] = option(
        600,
        "Images per class for finding artifact units: for each unit, the 5% that excite it most are compared with real "
        "images.",
    )
    artifact_scored_latents: Annotated[int, Field(ge=8)] = option(
        100, "Other images per class, in which artifact units are removed."
    )
    artifact_shares: tuple[Fraction, ...] = option(
        (0.005, 0.04), "Shares of all units that are removed as artifact units; each is tried.", is_distinct=True
    )
    artifact_random_sets: Count = option(2, "Random sets of as many units that the removal is compared with.")


ARTIFACT_REMOVAL_TABLE = Table(
    "artifact_removal",
    ("class_id", "removed", "n_units", "draw"),
    {
        **CLASS,
        "removed": (TEXT, "which units are zero everywhere: none, artifact or random"),
        "n_units": (I32, "number of units removed"),
        "draw": (I32, "number of the random set; 0 for the others"),
        "n_images": (I32, "images; none of them served to find the units"),
        "fid": (F32, "Fréchet distance between these images and the real ones of the class"),
        "precision": (F32, "share of the images inside the manifold of the real ones, in [0, 1]"),
        "recall": (F32, "share of the real images inside the manifold of these, in [0, 1]"),
        "changed": (F32, "share of the pixels that show other concepts than before, in [0, 1]"),
        **PROTOCOL,
    },
)
ARTIFACT_UNITS_TABLE = Table(
    "artifact_units",
    ("class_id", "site", "channel"),
    {
        **CLASS,
        **SITE,
        "channel": (I32, "index of the channel at its site; only the units that are removed for this class"),
        "rank": (I32, "place among the units of the class, from 1, the worst"),
        "fid": (F32, "Fréchet distance between real images and the 5% of the images that excite the unit most"),
        "fid_by_chance": (F32, "the same for as many random images, mean over 20 draws"),
        "fid_by_chance_std": (F32, "standard deviation over these draws"),
    },
)

ARTIFACT_UNITS = Analysis(
    "artifact_units",
    "Artifact units",
    options=ArtifactUnitOptions,
    tables=(ARTIFACT_UNITS_TABLE, ARTIFACT_REMOVAL_TABLE),
    needs=("segmenter", "evaluator", "real_images"),
    shows=("fid_features", "manifold_features"),
    work="workflows.analyses.artifact_units.work:ArtifactUnitsWork",
    results="workflows.analyses.artifact_units.results:ArtifactUnitsResults",
    not_compared="units are chosen for each generator; the comparison of class_metrics compares its images",
)
