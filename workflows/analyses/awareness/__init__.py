"""How aware each channel of each site is of the class and of the latent code (paper, Sec. 3.2)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cawa_core.options import option
from cawa_core.tables.schema import CLASS, F32, I32, SITE, TEXT, Table
from workflows.interface import Analysis
from workflows.options.lab import ChannelOrderOptions

ESTIMATORS = ("closed_form", "monte_carlo")


@dataclasses.dataclass(frozen=True)
class AwarenessOptions(ChannelOrderOptions):
    """Options of the analysis ``awareness``."""

    awareness_estimators: tuple[str, ...] = option(ESTIMATORS, f"Estimators of awareness: {', '.join(ESTIMATORS)}.")
    monte_carlo_classes: Annotated[int, Field(ge=0)] = option(
        0,
        "Classes to sample by Monte Carlo in addition to the closed form, evenly spread over those of this run; 0 "
        "means all.",
    )


AWARENESS_TABLE = Table(
    "awareness",
    ("estimator", "class_id", "site", "channel"),
    {
        **CLASS,
        **SITE,
        "channel": (I32, "index of the channel at its site"),
        "category_awareness": (F32, "A = E_z[offset / gain] (sec. 3.2); in closed form, its principal value"),
        "category_awareness_stderr": (F32, "standard error of A; null in closed form, which is not sampled"),
        "latent_awareness": (F32, "L = Var_z(offset / gain), unbiased; null in closed form, where it is infinite"),
        "latent_awareness_robust": (F32, "((q75 - q25) / 1.349)² of offset / gain"),
        "gain_sign_probability": (F32, "P(gain <= 0); unless it is tiny, sampled A and L have heavy tails"),
        "activation_probability": (F32, "E_z[P(output > 0)] for a standard normal input, in [0, 1]"),
        "expected_activation": (F32, "E_z E_x[ReLU(gain x + offset)] for a standard normal input x"),
        "inert": (pa.bool_(), "whether the channel cannot reach the image and is left out of rankings"),
        "estimator": (TEXT, "closed_form or monte_carlo"),
        "n_samples": (I32, "number of latents behind the row; 0 in closed form"),
    },
)

AWARENESS = Analysis(
    "awareness",
    "Awareness",
    options=AwarenessOptions,
    tables=(AWARENESS_TABLE,),
    axes=("class_id", "site"),
    unit="class-site pairs",
    classes_per_shard=250,
    work="workflows.analyses.awareness.work:AwarenessWork",
    results="workflows.analyses.awareness.results:AwarenessResults",
    comparison="workflows.analyses.awareness.comparison:AwarenessComparison",
    may_differ=("awareness_samples",),
)
