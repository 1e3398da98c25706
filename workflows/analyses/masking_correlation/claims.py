"""Claims on what predicts the effect of masking (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.errors import counted
from cawa_core.rendering.claims import NOTE, Claim, interval_words, signed
from cawa_core.statistics.correlation import FEWEST_GROUPS
from cawa_core.statistics.verdicts import HOLDS, IN_PART, OPEN, SMALLEST_CORRELATION
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking_correlation.predictors import PREDICTOR_WORDS
from workflows.results.class_resamples import typical_verdict, typical_words

Rows = Sequence[Mapping[str, Any]]

LEAST_SHARE = 0.5
"""Least share of the class-site pairs that must beat their null for a claim about all of them."""


def prediction_claims(rows: Rows, names: Mapping[int, str]) -> list[Claim]:
    """Decide whether category awareness predicts the signed and the absolute effect.

    The rank correlation of the median class must reach the smallest one that counts, and half of the class-site pairs
    must beat their permutation null among all pairs tested; if only fewer do, the claim holds in part.

    Args:
        rows: entry ``masking_prediction`` of the summary.
        names: names of the classes.
    """
    overall = {(row["target"], row["predictor"]): row for row in rows if row["site"] == ALL_SITES}
    claims = []
    for target, aspect in (("score_change", "direction and size"), ("score_change_abs", "size")):
        row = overall.get((target, "category_awareness"))
        if row is None:
            continue
        share = row["share_significant"] or 0.0
        verdict = typical_verdict(row["typical_spearman"], 1, SMALLEST_CORRELATION)
        if verdict == HOLDS and share < LEAST_SHARE:
            verdict = IN_PART
        if row["spearman"] is None:
            evidence = (
                f"Not tested: at no site are there {FEWEST_GROUPS} or more groups of masked channels, as a correlation "
                "needs. Audit with a smaller --masking-group-size."
            )
            claims.append(Claim(_prediction_claim(aspect), OPEN, evidence, "Sec. 4.1, Fig. 4"))
            continue
        evidence = (
            "Rank correlation over the channels of a site, averaged over sites, by class: "
            f"{typical_words(row['typical_spearman'], names)}. As published, smoothed r: mean "
            f"{signed(row['pearson_smoothed'])}, {interval_words(row['pearson_smoothed_ci'])}; it is positive and "
            f"beats its permutation null in {share:.0%} of the class-site pairs (Benjamini-Hochberg at 0.05), of which "
            f"the claim needs {LEAST_SHARE:.0%}."
        )
        claims.append(Claim(_prediction_claim(aspect), verdict, evidence, "Sec. 4.1, Fig. 4"))
    return claims


def _prediction_claim(aspect: str) -> str:
    return f"Category awareness predicts the {aspect} of the score change when a channel is masked."


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
