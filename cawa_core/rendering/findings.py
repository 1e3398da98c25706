"""The claims of the paper, tested on the numbers of an audit and stated in plain words.

A claim *holds* if the 95% interval over classes lies on the claimed side, *does not hold* if it lies on the other side,
and is *open* if the interval contains zero or does not exist. A correlation with masking must also beat its permutation
null in half of the class-site pairs, and a claim with several parts must hold in each; otherwise it holds *in part*.
Overlap is judged by a Mantel test at 0.05 (above that, *open* if any r is positive), and sharing by its count against
chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

HOLDS, IN_PART, FAILS, OPEN, NOTE = "holds", "holds in part", "does not hold", "open", "note"

PREDICTOR_WORDS = {
    "category_awareness": "category awareness",
    "category_awareness_sampled": "sampled category awareness",
    "activation_probability": "activation probability",
    "expected_activation": "expected activation",
    "screening": "gradient screening",
}
CRITERION_WORDS = {
    "category_highest": "highest category awareness",
    "category_lowest": "lowest category awareness",
    "latent_highest": "highest latent awareness",
    "expected_activation_highest": "highest expected activation",
    "masking_highest": "highest masking effect",
}
FEW_SHARED = 0.25
"""Channels shared by category awareness are few if they are at most this share of those by latent awareness."""
METRIC_SIGNS = {"precision": 1, "recall": -1, "ms_ssim": 1, "fid": -1}
"""Expected signs of the correlation with total awareness (sec. 5.4): better, less diverse; that of FID is ours."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim, its verdict on this model, the evidence, and the part of the paper that makes it."""

    claim: str
    verdict: str
    evidence: str
    source: str


def findings(summary: Mapping[str, Any]) -> list[Finding]:
    """Return all findings that the sections of a summary allow."""
    results: list[Finding] = []
    if summary.get("masking_controls"):
        results += _controls(summary["masking_controls"])
    if summary.get("masking_prediction"):
        results += _prediction(summary["masking_prediction"])
    if summary.get("overlap"):
        results += _overlap(summary["overlap"])
    if summary.get("sharing"):
        results += _sharing(summary["sharing"])
    if summary.get("metric_correlation"):
        results += _quality(summary["metric_correlation"], summary["n_real"])
    if summary.get("segmentation"):
        results += _segmentation(summary["segmentation"])
    if summary.get("hybrids"):
        results += _hybrids(summary["hybrids"])
    if summary.get("heavy_tails"):
        results += _heavy_tails(summary["heavy_tails"])
    return results


def signed(value: float | None, digits: int = 2) -> str:
    """Format a number with its sign, or return a dash if it is unknown."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval_words(interval: list[float] | None, digits: int = 2) -> str:
    """Put a 95% interval ``[low, high]`` into words."""
    if interval is None:
        return "no interval"
    return f"95% interval {signed(interval[0], digits)} to {signed(interval[1], digits)}"


def _side(interval: list[float] | None, sign: int) -> str:
    if interval is None or None in interval:
        return OPEN
    low, high = sorted(sign * end for end in interval)
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def _controls(controls: Mapping[str, Any]) -> list[Finding]:
    over_random = controls["highest_minus_random"]
    over_lowest = controls["random_minus_lowest"]
    if over_random is None:
        return []
    first, second = _side(over_random["ci"], 1), _side(over_lowest["ci"], 1)
    verdict = _joint_verdict([first, second])
    means = {row["control"]: row["score_change"] for row in controls["rows"] if row["site"] == -1}
    evidence = (
        f"On average, masking the same share of channels at every site lowers the class's score by "
        f"{signed(means['lowest'])} (lowest), {signed(means['random'])} (random) and {signed(means['highest'])} "
        f"(highest). Highest minus random: {interval_words(over_random['ci'])}; random minus lowest: "
        f"{interval_words(over_lowest['ci'])}."
    )
    claim = (
        "Masking the most aware channels hurts a class more than masking random channels, and masking random channels "
        "hurts it more than masking the least aware ones."
    )
    return [Finding(claim, verdict, evidence, "Fig. 3")]


def _prediction(rows: list[dict[str, Any]]) -> list[Finding]:
    overall = {(row["target"], row["predictor"]): row for row in rows if row["site"] == -1}
    results = []
    for target, aspect in (("score_change", "direction and size"), ("score_change_abs", "size")):
        row = overall.get((target, "category_awareness"))
        if row is None:
            continue
        share = row["share_significant"] or 0.0
        side = _side(row["pearson_smoothed_ci"], 1)
        verdict = side if side != HOLDS or share >= 0.5 else IN_PART
        evidence = (
            f"The mean smoothed r over classes and sites is {signed(row['pearson_smoothed'])} "
            f"({interval_words(row['pearson_smoothed_ci'])}); without smoothing, the rank correlation is "
            f"{signed(row['spearman'])}. In {share:.0%} of the class-site pairs r is positive and beyond its null "
            "(p < 0.05)."
        )
        claim = f"Category awareness predicts the {aspect} of the score change when a channel is masked."
        results.append(Finding(claim, verdict, evidence, "Sec. 4.1, Fig. 4"))
    return results + _best_predictor(rows)


def _best_predictor(rows: list[dict[str, Any]]) -> list[Finding]:
    absolute = [row for row in rows if row["target"] == "score_change_abs" and row["spearman"] is not None]
    overall = sorted((row for row in absolute if row["site"] == -1), key=lambda row: -row["spearman"])
    if not overall:
        return []
    sites = sorted({row["site"] for row in absolute if row["site"] >= 0})
    best = [
        max((row for row in absolute if row["site"] == site), key=lambda row: row["spearman"])["predictor"]
        for site in sites
    ]
    winner = overall[0]["predictor"]
    ranking = ", ".join(f"{PREDICTOR_WORDS[row['predictor']]} {signed(row['spearman'])}" for row in overall)
    evidence = f"Mean rank correlation with the absolute change over classes and sites: {ranking}."
    claim = (
        f"The best predictor of how much a channel matters is {PREDICTOR_WORDS[winner]}: "
        f"it ranks first at {best.count(winner)} of {len(sites)} sites."
    )
    return [Finding(claim, NOTE, evidence, "All predictors, same test")]


def _overlap(rows: list[dict[str, Any]]) -> list[Finding]:
    largest = max((row["k"] for row in rows if row["site"] == -1), default=None)
    tested = [row for row in rows if row["site"] == -1 and row["k"] == largest and row["similarity_p"] is not None]
    if not tested:
        return []
    passing = [row for row in tested if row["similarity_spearman"] > 0 and row["similarity_p"] < 0.05]
    by_awareness = any(row["criterion"] == "category_highest" for row in passing)
    against = all(row["similarity_spearman"] <= 0 for row in tested)
    verdict = HOLDS if by_awareness else IN_PART if passing else FAILS if against else OPEN
    parts = ", ".join(
        f"{CRITERION_WORDS[row['criterion']]} {signed(row['similarity_spearman'])} (p = {row['similarity_p']:.3f})"
        for row in sorted(tested, key=lambda row: -row["similarity_spearman"])
    )
    evidence = (
        f"Rank correlation of overlap (top {largest}) with the similarity of the classes' real images, tested with a "
        f"Mantel test: {parts}."
    )
    return [Finding("Similar classes share channels.", verdict, evidence, "Sec. 4.1, Fig. 5a")]


def _sharing(rows: list[dict[str, Any]]) -> list[Finding]:
    at_ten = {row["criterion"]: row for row in rows if row["k"] == 10}
    if not {"latent_highest", "category_highest"} <= set(at_ten):
        return []
    latent = at_ten["latent_highest"]
    category = at_ten["category_highest"]
    if latent["n_classes"] < 2:
        return []
    enough = latent["shared"] > max(1.0, 2 * latent["by_chance"])
    few = category["shared"] <= FEW_SHARED * latent["shared"]
    verdict = HOLDS if enough and few else IN_PART if enough else FAILS
    evidence = (
        f"Channels in the top 10 of every class, summed over {latent['n_sites']} sites: {latent['shared']} by latent "
        f"awareness and {category['shared']} by category awareness, with {latent['by_chance']:.2g} expected by chance."
    )
    claim = "All classes share channels that respond to the latent code, and few or none that respond to the class."
    return [Finding(claim, verdict, evidence, "Sec. 4.2, Table 1")]


def real_images_in_words(fewest: int, most: int) -> str:
    """Explain how unequal numbers of real images affect comparisons of classes; empty if they are equal."""
    if fewest == most:
        return ""
    return (
        f" Classes have {fewest:,} to {most:,} real images; for classes with fewer, FID has a larger bias, and "
        "precision and similar metrics rest on fewer samples."
    )


def _quality(rows: list[dict[str, Any]], n_real: list[int]) -> list[Finding]:
    by_metric = {row["metric"]: row for row in rows}
    parts, verdicts = [], []
    for metric, sign in METRIC_SIGNS.items():
        row = by_metric.get(metric)
        if row is not None:
            verdicts.append(_side([row["ci_low"], row["ci_high"]], sign))
            parts.append(f"{metric} {signed(row['pearson'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]")
    if not parts:
        return []
    if FAILS in verdicts:
        verdict = IN_PART if HOLDS in verdicts else FAILS
    else:
        verdict = HOLDS if set(verdicts) == {HOLDS} else IN_PART if HOLDS in verdicts else OPEN
    n = max(row["n_classes"] for row in rows)
    evidence = f"Pearson r with total awareness over {n} classes, with bootstrap 95% intervals: {', '.join(parts)}."
    evidence += real_images_in_words(*n_real)
    claim = "Classes with high total awareness look better and vary less."
    return [Finding(claim, verdict, evidence, "Sec. 5.4, Fig. 10")]


def _segmentation(rows: list[dict[str, Any]]) -> list[Finding]:
    verdicts = [_side(row["gained_ci"], 1) for row in rows]
    parts = "; ".join(
        f"K = {row['clusters']}: {row['weighted']:.2f} against {row['plain']:.2f}, difference {signed(row['gained'])} "
        f"({interval_words(row['gained_ci'])})"
        for row in rows
    )
    evidence = (
        "Intersection over union of the foreground with Otsu's threshold, averaged over classes, with awareness "
        f"against without: {parts}."
    )
    claim = "Clusters of pixels find objects better with channels weighted by awareness than without."
    return [Finding(claim, _joint_verdict(verdicts), evidence, "Sec. 5.3, Fig. 8")]


def _hybrids(rows: list[dict[str, Any]]) -> list[Finding]:
    by_measure = {row["measure"]: row for row in rows}
    chosen = by_measure["harmony"]
    words = (
        "undecided between the classes, and close to real images"
        if "realism" in by_measure
        else "undecided between the classes"
    )
    parts = ", ".join(
        f"{measure} {row['channel_mixing']:.2f} against {row['style_mixing']:.2f}"
        for measure, row in by_measure.items()
        if measure != "harmony"
    )
    evidence = (
        f"Harmony ({words}) of the best mixture of each kind over {chosen['n_pairs']} pairs: "
        f"{chosen['channel_mixing']:.3f} for channel mixing, {chosen['style_mixing']:.3f} for style mixing, difference "
        f"{signed(chosen['gained'], 3)} ({interval_words(chosen['gained_ci'], 3)}); {parts}."
    )
    claim = "Channel mixing makes more harmonious hybrids of two classes than style mixing does."
    return [Finding(claim, _side(chosen["gained_ci"], 1), evidence, "Sec. 5.2, Fig. 7")]


def _joint_verdict(verdicts: list[str]) -> str:
    """Return the verdict of a claim whose parts must all hold."""
    if set(verdicts) == {HOLDS}:
        return HOLDS
    return IN_PART if HOLDS in verdicts else OPEN if OPEN in verdicts else FAILS


def _heavy_tails(tails: Mapping[str, Any]) -> list[Finding]:
    share = tails["share_of_large_sign_probability"]
    largest = tails["largest_sign_probability"] or 0.0
    light = tails["light_tail"]
    evidence = (
        f"For {share:.1%} of the channels and classes, the gain changes sign with a probability above "
        f"{tails['heavy_tail']:g} (at most {largest:.2g})."
    )
    gap = tails["estimator_gap"]
    if gap and gap["light_tails_largest_in_stderr"] is not None:
        evidence += (
            f" Where this probability is below {light:g}, the two estimators agree within "
            f"{gap['light_tails_largest_in_stderr']:.1f} standard errors."
        )
    if gap and gap["heavy_tails_largest"] is not None:
        evidence += (
            f" Where it is above {tails['heavy_tail']:g}, they differ by up to {gap['heavy_tails_largest']:.2g}: "
            "use the closed form there."
        )
    if share:
        claim = "Gains change sign, so sampled awareness has heavy tails."
    else:
        claim = "Gains keep their sign." if largest < light else "Gains rarely change sign."
    return [Finding(claim, NOTE, evidence, "Heavy tails of β/γ")]
