"""Predictors of the effect of masking a channel."""

from __future__ import annotations

PREDICTOR_WORDS = {
    "category_awareness": "category awareness",
    "category_awareness_sampled": "sampled category awareness",
    "activation_probability": "activation probability",
    "expected_activation": "expected activation",
    "screening": "gradient screening",
}
"""Predictors, and what they are called in reports."""
PREDICTORS = tuple(PREDICTOR_WORDS)
PREDICTOR_COLOURS = {
    "category_awareness": "blue",
    "category_awareness_sampled": "violet",
    "activation_probability": "amber",
    "expected_activation": "red",
    "screening": "green",
}
"""Colour of each predictor in figures, by its name in the palette."""


def source_of(predictor: str, target: str) -> str:
    """Return the column that a predictor takes its values from: for screening, its own estimate of the effect."""
    if predictor != "screening":
        return predictor
    return "screened_score_change_abs" if target.endswith("_abs") else "screened_score_change"
