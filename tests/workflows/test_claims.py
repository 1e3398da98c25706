"""Verdicts of the analyses' claims, from summaries written by hand."""

from workflows.analyses import ANALYSES

NAMES = {"class_names": {str(class_id): f"class {class_id}" for class_id in range(20)}}


def claims_of(summary):
    """All claims that some entries of a summary decide."""
    whole = NAMES | summary
    return [claim for analysis in ANALYSES.values() for claim in analysis.make_results().claims(whole)]


def typical(ci, outliers=()):
    median = None if ci is None else sum(ci) / 2
    return {"median": median, "ci": ci, "outliers": list(outliers), "mean_without_outliers": median}


def controls(high, ci):
    difference = {"mean": high, "ci": ci, "n_classes": 10, "typical": typical(ci)}
    rows = [{"site": -1, "control": name, "score_change": 0.1} for name in ("lowest", "random", "highest")]
    return {"rows": rows, "highest_minus_random": difference, "random_minus_lowest": difference}


def segmented(*intervals):
    means = {"plain": 0.5, "weighted": 0.6, "gained": 0.1}
    return [{"clusters": 3 + place, **means, "typical_gain": typical(ci)} for place, ci in enumerate(intervals)]


UP, DOWN, BOTH, SMALL = [0.1, 0.2], [-0.2, -0.1], [-0.1, 0.2], [0.002, 0.008]
"""Intervals: above the smallest gain that counts, below zero, around it, and above zero but below that gain."""


def test_segmentation_must_gain_with_every_number_of_clusters():
    cases = (
        ((UP, UP), "holds"),
        ((UP, DOWN), "holds in part"),
        ((UP, BOTH), "holds in part"),
        ((BOTH, DOWN), "open"),
        ((DOWN, DOWN), "does not hold"),
        ((SMALL, DOWN), "does not hold"),
        ((None,), "open"),
    )
    for intervals, verdict in cases:
        (claim,) = claims_of({"segmentation": segmented(*intervals)})
        assert claim.verdict == verdict


def test_hybrids_are_judged_by_harmony_alone():
    row = {"n_pairs": 9, "style_mixing": 0.1, "channel_mixing": 0.2, "gained": 0.1}
    for ci, verdict in ((UP, "holds"), (DOWN, "does not hold"), (SMALL, "does not hold"), (BOTH, "open")):
        rows = [
            {"measure": "harmony", **row, "typical_gain": typical(ci, outliers=[3])},
            {"measure": "balance", **row, "typical_gain": typical(DOWN)},
        ]
        (claim,) = claims_of({"hybrids": rows})
        assert claim.verdict == verdict
        assert "balance 0.20 against 0.10" in claim.evidence
        assert "without the outlier class 3" in claim.evidence


def test_verdicts_follow_the_intervals():
    for ci, verdict in ((UP, "holds"), (DOWN, "does not hold"), (BOTH, "open"), (None, "open")):
        assert claims_of({"masking_controls": controls(0.1, ci)})[0].verdict == verdict


def prediction(r, ci, share):
    row = {"target": "score_change", "predictor": "category_awareness", "site": -1, "n_classes": 10, "spearman": r}
    smoothed = {"pearson_smoothed": r, "pearson_smoothed_ci": ci, "share_significant": share}
    return [{**row, **smoothed, "typical_spearman": typical(ci)}]


def test_a_prediction_must_be_large_enough_and_beat_its_null_in_half_of_the_pairs():
    for ci, share, verdict in (
        ([0.3, 0.5], 0.8, "holds"),
        ([0.3, 0.5], 0.2, "holds in part"),
        ([-0.1, 0.3], 0.0, "open"),
        ([0.05, 0.13], 0.04, "does not hold"),
        ([0.05, 0.13], 0.9, "does not hold"),
        ([-0.5, -0.3], 0.9, "does not hold"),
    ):
        assert claims_of({"masking_prediction": prediction(0.4, ci, share)})[0].verdict == verdict


def correlations(**verdicts):
    none = {"influential": [], "outliers": [], "hangs_on": [], "robust_without": 0.5, "pearson_without": 0.5}
    estimate = {"robust_spearman": 0.5, "robust_ci_low": 0.2, "robust_ci_high": 0.8, "robust_p": 0.001}
    shared = {"pearson": 0.5, "spearman": 0.5, "n_classes": 10, **estimate, **none}
    rows = [{**shared, "metric": metric, "verdict": verdict} for metric, verdict in verdicts.items()]
    return {"metric_correlation": rows, "n_real": [50, 50]}


def test_every_quality_sign_must_agree():
    for precision, recall, verdict in (
        ("holds", "holds", "holds"),
        ("holds", "open", "holds in part"),
        ("open", "open", "open"),
        ("does not hold", "open", "open"),
        ("does not hold", "does not hold", "does not hold"),
        ("does not hold", "holds", "holds in part"),
    ):
        assert claims_of(correlations(precision=precision, recall=recall))[0].verdict == verdict
    (unequal,) = claims_of(correlations(precision="holds") | {"n_real": [732, 1300]})
    assert "732 to 1,300 real images" in unequal.evidence


def test_one_metric_of_four_must_be_significant_among_all_of_them():
    summary = correlations(precision="holds", recall="open", fid="open", ms_ssim="open")
    rows = summary["metric_correlation"]
    for p_value, verdict in ((0.04, "open"), (0.01, "holds in part")):
        for row in rows:
            row["robust_p"] = p_value if row["metric"] == "precision" else 0.5
        assert claims_of(summary)[0].verdict == verdict


def test_classes_that_a_verdict_rests_on_are_named():
    summary = correlations(precision="holds")
    (row,) = summary["metric_correlation"]
    row |= {"influential": [4, 2, 7], "pearson": 0.63, "pearson_without": 0.04, "outliers": [2, 4], "hangs_on": [9]}
    row["robust_without"] = 0.1
    evidence = claims_of(summary)[0].evidence
    assert "Pearson r, as published: precision +0.63 (without class 4, class 2 and class 7 +0.04)" in evidence
    assert "without outliers in either quantity: class 2 and class 4." in evidence
    assert "That precision supports the claim hangs on class 9: without it, the rank correlation is +0.10." in evidence


def test_similarity_needs_a_large_enough_correlation_among_all_criteria():
    def overlaps(*tested, spread=0.05):
        row = {"site": -1, "k": 10, "similarity_null_std": spread}
        criteria = ("category_highest", "masking_highest", "latent_highest")
        rows = [
            {**row, "criterion": criterion, "similarity_spearman": r, "similarity_p": p}
            for criterion, (r, p) in zip(criteria[: len(tested)], tested, strict=True)
        ]
        return {"overlap": rows}

    for tested, verdict in (
        (((0.9, 0.01),), "holds"),
        (((0.9, 0.06),), "open"),
        (((0.15, 0.001),), "open"),
        (((0.05, 0.04),), "does not hold"),
        (((-0.5, 0.9),), "does not hold"),
        (((0.0, 0.5), (0.3, 0.01)), "holds in part"),
        (((0.0, 0.5), (0.3, 0.03)), "open"),
    ):
        (claim,) = claims_of(overlaps(*tested))
        assert claim.verdict == verdict, tested
    assert claims_of(overlaps((None, None))) == []
    assert claims_of({"overlap": [{"site": 0, "k": 10, "criterion": "category_highest"}]}) == []


def test_each_known_factor_is_tested_among_all_of_them():
    def overlaps(building, place):
        row = {"site": -1, "k": 10, "criterion": "category_highest", "null_std": 0.05}
        tested = [
            {**row, "factor": factor, "overlap": 0.4, "spearman": r, "p": p}
            for factor, (r, p) in {"building": building, "place": place}.items()
        ]
        return {
            "overlap_by_factor": [*tested, {**row, "factor": "neither", "overlap": 0.1, "spearman": None, "p": None}]
        }

    for building, place, verdicts in (
        ((0.9, 0.001), (0.0, 0.5), ["holds", "does not hold"]),
        ((0.9, 0.04), (0.3, 0.04), ["holds", "holds"]),
        ((0.9, 0.04), (0.3, 0.5), ["open", "open"]),
        ((0.9, 0.04), (None, None), ["holds"]),
    ):
        claims = claims_of(overlaps(building, place))
        assert [claim.verdict for claim in claims] == verdicts
        assert claims[0].claim == "Classes that share the building share channels."
        assert "such classes share 40% of the channels, and classes without a common factor 10%" in claims[0].evidence


def sharing(latent, category, by_chance=0.1):
    names = ("in_nine_tenths", "in_half", "shared")
    rows = []
    for criterion, counts in (("latent_highest", latent), ("category_highest", category)):
        row = {"criterion": criterion, "k": 10, "n_sites": 6, "n_classes": 1000} | dict(zip(names, counts, strict=True))
        rows.append(row | {f"{name}_by_chance": by_chance for name in names})
    return {"sharing": rows}


def test_sharing_does_not_depend_on_every_single_class():
    for latent, category, verdict in (
        ((8, 20, 8), (0, 1, 0), "holds"),
        ((8, 20, 0), (0, 1, 0), "holds"),
        ((8, 20, 8), (4, 9, 4), "holds in part"),
        ((0, 27, 0), (0, 0, 0), "holds in part"),
        ((0, 27, 0), (0, 20, 0), "does not hold"),
        ((0, 0, 0), (0, 0, 0), "does not hold"),
    ):
        (claim,) = claims_of(sharing(latent, category))
        assert claim.verdict == verdict


def test_gains_keep_their_sign_only_where_none_is_likely_to_change_it():
    tails = {"estimator_gap": None, "heavy_tail": 1e-3, "light_tail": 1e-6}
    for share, largest, words in ((0.2, 0.4, "Gains change"), (0.0, 4e-4, "Gains rarely"), (0.0, 1e-9, "Gains keep")):
        section = {**tails, "share_of_large_sign_probability": share, "largest_sign_probability": largest}
        (claim,) = claims_of({"heavy_tails": section})
        assert claim.claim.startswith(words)


def test_the_score_falls_or_rises_in_words():
    summary = controls(0.1, [0.1, 0.2])
    for row, change in zip(summary["rows"], (-0.07, 0.001, 0.83), strict=True):
        row["score_change"] = change
    (claim,) = claims_of({"masking_controls": summary})
    assert "rises by 0.07 if these are the least aware channels" in claim.evidence
    assert "does not change if they are random" in claim.evidence
    assert "falls by 0.83 if they are the most aware" in claim.evidence
