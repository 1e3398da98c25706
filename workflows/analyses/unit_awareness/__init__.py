"""Every channel's awareness, masking effect and concept side by side, and whether one tells about the other."""

from __future__ import annotations

import pyarrow as pa

from cawa_core.tables.schema import F32, F64, I32, SITE, TEXT, Table
from workflows.analyses.awareness import AWARENESS
from workflows.analyses.dissection import DISSECTION
from workflows.analyses.unit_concepts import UNIT_CONCEPTS
from workflows.interface import Analysis

UNIT_AWARENESS_TABLE = Table(
    "unit_awareness",
    ("site", "channel"),
    {
        **SITE,
        "channel": (I32, "index of the channel at its site; channels that cannot reach the image are left out"),
        "category_awareness": (F32, "mean over classes of |category awareness|"),
        "latent_awareness": (F32, "mean over classes of the latent awareness that channels are ranked by"),
        "expected_activation": (F32, "mean over classes of the expected activation"),
        "masking_effect": (F32, "mean over classes of score_change_abs of the channel's group; null if not masked"),
        "concept": (TEXT, "concept of highest IoU"),
        "iou": (F32, "IoU with it, over all classes"),
        "iou_beyond_chance": (F32, "IoU less that by chance"),
        "is_interpretable": (pa.bool_(), "as in unit_concepts"),
        "weight": (F32, "weight in the optimised set of this concept (concept_units); null if there is none"),
    },
)
UNIT_AWARENESS_CORRELATION_TABLE = Table(
    "unit_awareness_correlation",
    ("site", "predictor", "target"),
    {
        **SITE,
        "predictor": (TEXT, "column of unit_awareness that is correlated with the target over channels"),
        "target": (TEXT, "iou_beyond_chance or weight"),
        "spearman": (F32, "rank correlation over the channels of the site; null if one does not vary"),
        "null_std": (F32, "standard deviation of the rank correlation over random orders of the channels"),
        "p_value": (F64, "two-sided, by these random orders"),
        "q_value": (F64, "Benjamini-Hochberg over all sites and predictors of a target"),
        "n_channels": (I32, "number of channels"),
    },
)

UNIT_AWARENESS = Analysis(
    "unit_awareness",
    "Awareness and concepts of units",
    tables=(UNIT_AWARENESS_TABLE, UNIT_AWARENESS_CORRELATION_TABLE),
    after=(AWARENESS.name, DISSECTION.name, UNIT_CONCEPTS.name),
    derivation="workflows.analyses.unit_awareness.derivation:UnitAwarenessDerivation",
    results="workflows.analyses.unit_awareness.results:UnitAwarenessResults",
    not_compared="the comparisons of awareness and dissection compare the same channels class by class",
)
