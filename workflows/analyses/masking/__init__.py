"""Masking: the effect of each channel group on the score of the class (paper, Sec. 4)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from cawa_core.options import Count, Fraction, option
from cawa_core.tables.schema import CHANNELS, CLASS, F32, I16, I32, PROTOCOL, SITE, TEXT, Columns, Table, with_stderr
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class ControlOptions:
    """The option that control masks share with the pictures of them."""

    control_fraction: Fraction = option(0.1, "Share of a site's channels that a control mask sets to zero.")


@dataclasses.dataclass(frozen=True)
class MaskingOptions(ControlOptions):
    """Options of the analysis ``masking``."""

    masking_latents: Annotated[int, Field(ge=2)] = option(
        512,
        "Latents per class for masking (1000 in the paper). The estimator exact masks all of them; two_precisions "
        "masks them in bfloat16; the others take gradients on them.",
    )
    masking_estimator: Literal["exact", "regression", "two_precisions", "screening"] = option(
        "regression",
        "Estimator of masking effects. exact: mask every latent. regression: gradients, corrected by a few exact "
        "masks. two_precisions: bfloat16 masks, corrected by a few in float32. screening: gradients only.",
    )
    exact_latents: Annotated[int, Field(ge=8)] = option(
        16,
        "Latents on which regression and two_precisions mask exactly; with --target-stderr, how many each mask starts "
        "with.",
    )
    target_stderr: Annotated[float, Field(ge=0)] = option(
        0.0,
        "Add latents, mask by mask, until the standard error of score_change is at most this; 0 gives all masks the "
        "same latents.",
    )
    top: Annotated[int, Field(ge=0)] = option(
        0, "Mask only this many channel groups per class, those that screening ranks highest; 0 masks all."
    )
    control_latents: Annotated[int, Field(ge=2)] = option(16, "Latents per class for the control masks.")
    masking_group_size: Count = option(1, "Channels masked together: neighbours in the order of category awareness.")
    control_repeats: Count = option(8, "Random control masks per class and site.")


EFFECT: Columns = {
    **with_stderr("score_change", "mean over latents of p(class | unmasked) - p(class | masked); > 0: masking hurts"),
    **with_stderr("score_change_abs", "mean over latents of the absolute change in probability"),
    **with_stderr("log_score_change", "mean over latents of ln p(class | unmasked) - ln p(class | masked)"),
    **with_stderr("log_score_change_abs", "mean over latents of the absolute change in natural log-probability"),
}

MASKING_TABLE = Table(
    "masking",
    ("class_id", "site", "group"),
    {
        **CLASS,
        **SITE,
        "group": (I32, "position of the group in ascending order of category awareness"),
        "channels": (CHANNELS, "channels set to zero together after the ReLU"),
        **EFFECT,
        "screened_score_change": (F32, "score_change by screening: a gradient, first order in log-odds"),
        "screened_score_change_abs": (F32, "score_change_abs by screening"),
        "method": (
            TEXT,
            "exact, screening, or regression (exact masks correct an estimate from more latents; also for "
            "two_precisions)",
        ),
        "n_samples": (I32, "number of latents masked, in either precision; 0 for screening alone"),
        "n_screened": (I32, "number of latents behind screening and the estimate that regression corrects"),
        **PROTOCOL,
    },
)
MASKING_CONTROLS_TABLE = Table(
    "masking_controls",
    ("class_id", "site", "control", "repeat"),
    {
        **CLASS,
        "site": (I16, "index of the site; -1: at every site at once"),
        "control": (TEXT, "channels masked: no_op (none), lowest or highest category awareness, or random"),
        "repeat": (I32, "index of the random draw"),
        "n_channels": (I32, "number of channels masked"),
        **EFFECT,
        "n_samples": (I32, "number of latents behind the row"),
        **PROTOCOL,
    },
)

MASKING = Analysis(
    "masking",
    "Masking",
    options=MaskingOptions,
    tables=(MASKING_TABLE, MASKING_CONTROLS_TABLE),
    needs=("evaluator",),
    axes=("class_id", "site"),
    unit="class-site pairs",
    work="workflows.analyses.masking.work:MaskingWork",
    results="workflows.analyses.masking.results:MaskingResults",
    comparison="workflows.analyses.masking.comparison:MaskingComparison",
    may_differ=("control_latents", "control_fraction", "control_repeats"),
    command="workflows.analyses.masking.command:mask",
)
