"""Hybrids of each class with some other classes, by the best mixture of each kind (paper, Sec. 5.2, Fig. 7)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, I16, I32, I64, PROTOCOL, TEXT, Table, with_stderr
from workflows.analyses.class_metrics import ManifoldOptions
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class HybridOptions(ManifoldOptions):
    """Options of the analysis ``hybrids``."""

    hybrid_partners: Count = option(
        1, "Number of other classes of the generator, drawn at random, that each class is mixed with."
    )
    hybrid_tried_latents: Annotated[int, Field(ge=2)] = option(
        32, "Latents on which the sites and k of a hybrid are chosen."
    )
    hybrid_scored_latents: Annotated[int, Field(ge=2)] = option(
        200, "Held-out latents on which the chosen hybrids are scored."
    )


HYBRIDS_TABLE = Table(
    "hybrids",
    ("class_id", "reference_id", "kind"),
    {
        **CLASS,
        "reference_id": (I32, "index of the reference class, which the class is mixed with"),
        "kind": (
            TEXT,
            "input or reference (unmixed images of either class), style_mixing or channel_mixing (the best mixture)",
        ),
        "first_site": (I16, "first site with transplants, or the first conditioned on the reference class"),
        "sites": (pa.list_(I16), "sites with transplants"),
        "k": (I32, "channels transplanted per site: those most aware of the reference class"),
        **with_stderr("input_probability", "the evaluator's probability of the class"),
        **with_stderr("reference_probability", "the evaluator's probability of the reference class"),
        **with_stderr("balance", "4 p q of the two probabilities p and q: 1 if both are one half"),
        **with_stderr("realism", "closeness to real images of either class; null without real images"),
        **with_stderr("harmony", "balance times realism, or balance alone without real images"),
        "n_tried": (I32, "number of latents on which the mixture was chosen"),
        "n_samples": (I32, "number of held-out latents behind the scores"),
        "pngs": (pa.list_(pa.binary()), "images of the first latents"),
        **PROTOCOL,
    },
)

KEY = {
    **CLASS,
    "reference_id": (I32, "index of the reference class, which the class is mixed with"),
    "kind": (TEXT, "input or reference (unmixed images of either class), style_mixing or channel_mixing"),
}
HYBRID_PREDICTIONS_TABLE = Table(
    "hybrid_predictions",
    (*KEY, "predicted_class"),
    {
        **KEY,
        "predicted_class": (I32, "class to which the evaluator assigns images of the held-out latents"),
        "n_images": (I32, "number of these images"),
    },
)
HYBRID_MIXTURES_TABLE = Table(
    "hybrid_mixtures",
    (*KEY, "first_site", "k", "predicted_class"),
    {
        **KEY,
        "first_site": (I16, "first site with transplants, or the first conditioned on the reference class"),
        "k": (I32, "channels transplanted per site; 0 in style mixing"),
        "predicted_class": (I32, "class to which the evaluator assigns images of the latents that choose"),
        "n_images": (I32, "number of these images"),
    },
)
HYBRID_CONCEPTS_TABLE = Table(
    "hybrid_concepts",
    (*KEY, "concept"),
    {
        **KEY,
        "concept": (TEXT, "concept of the segmenter"),
        "pixels": (I64, "pixels that show the concept, summed over the images of some held-out latents"),
        "input_pixels": (I64, "pixels that show it in the input class's images of the same latents"),
        "reference_pixels": (I64, "pixels that show it in the reference class's images of the same latents"),
        "input_shared": (I64, "pixels that show it in both this image and the input class's"),
        "reference_shared": (I64, "pixels that show it in both this image and the reference class's"),
        "n_samples": (I32, "number of latents: the first held-out ones, as many as chose the mixture if there are"),
    },
)

HYBRIDS = Analysis(
    "hybrids",
    "Hybrids",
    options=HybridOptions,
    tables=(HYBRIDS_TABLE, HYBRID_PREDICTIONS_TABLE, HYBRID_MIXTURES_TABLE, HYBRID_CONCEPTS_TABLE),
    needs=("evaluator",),
    uses=("real_images", "segmenter"),
    shows=("manifold_features",),
    work="workflows.analyses.hybrids.work:HybridsWork",
    results="workflows.analyses.hybrids.results:HybridsResults",
    comparison="workflows.analyses.hybrids.comparison:HybridsComparison",
    may_differ=("hybrid_partners", "hybrid_scored_latents", "segmenter"),
    command="workflows.analyses.hybrids.command:hybridise",
)
