"""How well awareness and other predictors predict the effect of masking (paper, Sec. 4.1, Fig. 4)."""

from __future__ import annotations

from cawa_core.tables.schema import CLASS, F32, I32, SITE, TEXT, Table
from workflows.analyses.awareness import AWARENESS
from workflows.analyses.masking import MASKING
from workflows.interface import Analysis

MASKING_CORRELATION_TABLE = Table(
    "masking_correlation",
    ("class_id", "site", "predictor", "target"),
    {
        **CLASS,
        **SITE,
        "predictor": (
            TEXT,
            "category_awareness (in closed form if there is one), category_awareness_sampled, "
            "activation_probability, expected_activation or screening",
        ),
        "target": (TEXT, "column of masking that is predicted"),
        "n_groups": (I32, "number of groups behind the correlation"),
        "pearson_smoothed": (F32, "Pearson r with the change smoothed in predictor order (Savitzky-Golay, sec. 4.1)"),
        "pearson": (F32, "Pearson r without smoothing"),
        "spearman": (F32, "rank correlation without smoothing"),
        "null_mean": (F32, "mean of pearson_smoothed over random permutations of the change"),
        "null_std": (F32, "standard deviation of pearson_smoothed over these permutations"),
        "p_value": (F32, "two-sided p-value: share of permutations at least as far from zero"),
    },
)

MASKING_CORRELATION = Analysis(
    "masking_correlation",
    "Correlation of awareness with masking",
    tables=(MASKING_CORRELATION_TABLE,),
    after=(AWARENESS.name, MASKING.name),
    derivation="workflows.analyses.masking_correlation.derivation:MaskingCorrelationDerivation",
    results="workflows.analyses.masking_correlation.results:MaskingCorrelationResults",
    comparison="workflows.analyses.masking_correlation.comparison:MaskingCorrelationComparison",
)
