"""Claims on what predicts the effect of masking (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.errors import counted
from cawa_core.rendering.claims import HOLDS, IN_PART, NOTE, Claim, interval_words, side, signed
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking_correlation.predictors import PREDICTOR_WORDS

Rows = Sequence[Mapping[str, Any]]


def prediction_claims(rows: Rows) -> list[Claim]:
    """Decide whether category awareness predicts the signed and the absolute effect.

    The mean smoothed r must be positive, and beat its permutation null in half of the class-site pairs.
    """
    overall = {(row["target"], row["predictor"]): row for row in rows if row["site"] == ALL_SITES}
    claims = []
    for target, aspect in (("score_change", "direction and size"), ("score_change_abs", "size")):
        row = overall.get((target, "category_awareness"))
        if row is None:
            continue
        share = row["share_significant"] or 0.0
        verdict = side(row["pearson_smoothed_ci"], 1)
        if verdict == HOLDS and share < 0.5:
            verdict = IN_PART
        evidence = (
            f"The mean smoothed r over classes and sites is {signed(row['pearson_smoothed'])} "
            f"({interval_words(row['pearson_smoothed_ci'])}); without smoothing, the rank correlation is "
            f"{signed(row['spearman'])}. In {share:.0%} of the class-site pairs, smoothed r is positive and differs "
            "significantly from its permutation null (p < 0.05)."
        )
        claim = f"Category awareness predicts the {aspect} of the score change when a channel is masked."
        claims.append(Claim(claim, verdict, evidence, "Sec. 4.1, Fig. 4"))
    return claims


def best_predictor(rows: Rows) -> list[Claim]:
    """Note which predictor has the highest rank correlation with the absolute effect."""
    absolute = [row for row in rows if row["target"] == "score_change_abs" and row["spearman"] is not None]
    overall = sorted((row for row in absolute if row["site"] == ALL_SITES), key=lambda row: -row["spearman"])
    if not overall:
        return []
    sites = sorted({row["site"] for row in absolute if row["site"] != ALL_SITES})
    best = [
        max((row for row in absolute if row["site"] == site), key=lambda row: row["spearman"])["predictor"]
        for site in sites
    ]
    winner = overall[0]["predictor"]
    ranking = ", ".join(f"{PREDICTOR_WORDS[row['predictor']]} {signed(row['spearman'])}" for row in overall)
    evidence = f"Mean rank correlation with the absolute score change, over classes and sites: {ranking}."
    claim = (
        f"The best predictor of how much a channel matters is {PREDICTOR_WORDS[winner]}: "
        f"it ranks first at {best.count(winner)} of {counted(len(sites), 'site')}."
    )
    return [Claim(claim, NOTE, evidence, "All predictors, same test")]
