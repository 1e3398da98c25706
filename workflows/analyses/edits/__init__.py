"""Channels that make good edits of a class: they change its pictures locally and preserve the class (Fig. 5b)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, I32, PROTOCOL, SITE, Table, with_stderr
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class EditOptions:
    """Options of the analysis ``edits``."""

    edit_candidates: Count = option(
        256, "Channels per class that are tried as edits: those of highest awareness at each site."
    )
    edit_tried_latents: Count = option(4, "Latents on which the best edits are chosen.")
    edit_scored_latents: Annotated[int, Field(ge=2)] = option(
        16, "Held-out latents on which the chosen edits are scored."
    )


EDITS_TABLE = Table(
    "edits",
    ("class_id", "rank"),
    {
        **CLASS,
        "rank": (I32, "0: the best edit of the class on the latents that chose it"),
        **SITE,
        "channel": (I32, "index of the channel that is multiplied"),
        "factor": (F32, "factor that the channel is multiplied by"),
        **with_stderr("change", "mean absolute change of a pixel, as a share of the range from black to white"),
        **with_stderr("locality", "1 - (Σ|d|)² / (P Σd²) over the P pixels' changes d: near 1 if few pixels change"),
        **with_stderr("kept", "class retention: min(1, p_after / p_before) for the probability of the class"),
        **with_stderr("merit", "change times locality times kept; edits were ranked by its value on other latents"),
        "n_candidates": (I32, "number of channels tried"),
        "n_tried": (I32, "number of latents on which the edit was chosen"),
        "n_samples": (I32, "number of held-out latents behind the scores"),
        "pngs": (
            pa.list_(pa.binary()),
            "images of the first held-out latent with the channel times 0, 1, 2, 3; null except for the first few "
            "ranks",
        ),
        **PROTOCOL,
    },
)

EDITS = Analysis(
    "edits",
    "Edits",
    options=EditOptions,
    tables=(EDITS_TABLE,),
    needs=("evaluator",),
    work="workflows.analyses.edits.work:EditsWork",
    results="workflows.analyses.edits.results:EditsResults",
    comparison="workflows.analyses.edits.comparison:EditsComparison",
    may_differ=("edit_scored_latents",),
    command="workflows.analyses.edits.command:edit",
)
