"""Verdicts of the analyses' claims, from summaries written by hand."""

from workflows.analyses import ANALYSES


def claims_of(summary):
    """All claims that some entries of a summary decide."""
    return [claim for analysis in ANALYSES.values() for claim in analysis.make_results().claims(summary)]


def controls(high, ci):
    difference = {"mean": high, "ci": ci, "n_classes": 10}
    rows = [{"site": -1, "control": name, "score_change": 0.1} for name in ("lowest", "random", "highest")]
    return {"rows": rows, "highest_minus_random": difference, "random_minus_lowest": difference}


def segmented(*intervals):
    means = {"plain": 0.5, "weighted": 0.6, "gained": 0.1}
    return [{"clusters": 3 + place, **means, "gained_ci": ci} for place, ci in enumerate(intervals)]


def test_segmentation_must_gain_with_every_number_of_clusters():
    up, down, both = [0.1, 0.2], [-0.2, -0.1], [-0.1, 0.2]
    cases = (
        ((up, up), "holds"),
        ((up, down), "holds in part"),
        ((up, both), "holds in part"),
        ((both, down), "open"),
        ((down, down), "does not hold"),
        ((None,), "open"),
    )
    for intervals, verdict in cases:
        (claim,) = claims_of({"segmentation": segmented(*intervals)})
        assert claim.verdict == verdict


def test_hybrids_are_judged_by_harmony_alone():
    row = {"n_pairs": 9, "style_mixing": 0.1, "channel_mixing": 0.2, "gained": 0.1}
    for ci, verdict in (([0.05, 0.2], "holds"), ([-0.2, -0.1], "does not hold"), ([-0.1, 0.2], "open")):
        rows = [
            {"measure": "harmony", **row, "gained_ci": ci},
            {"measure": "balance", **row, "gained_ci": [-0.2, -0.1]},
        ]
        (claim,) = claims_of({"hybrids": rows})
        assert claim.verdict == verdict
        assert "balance 0.20 against 0.10" in claim.evidence


def test_verdicts_follow_the_intervals():
    cases = ([0.1, 0.2], "holds"), ([-0.2, -0.1], "does not hold"), ([-0.1, 0.2], "open"), (None, "open")
    for ci, verdict in cases:
        assert claims_of({"masking_controls": controls(0.1, ci)})[0].verdict == verdict


def prediction(r, ci, share):
    row = {"target": "score_change", "predictor": "category_awareness", "site": -1, "n_classes": 10, "spearman": r}
    return [{**row, "pearson_smoothed": r, "pearson_smoothed_ci": ci, "share_significant": share}]


def test_a_correlation_must_beat_its_null_too():
    for ci, share, verdict in (
        ([0.3, 0.5], 0.8, "holds"),
        ([0.3, 0.5], 0.2, "holds in part"),
        ([-0.1, 0.1], 0.0, "open"),
        ([-0.5, -0.3], 0.9, "does not hold"),
    ):
        assert claims_of({"masking_prediction": prediction(0.4, ci, share)})[0].verdict == verdict


def test_every_quality_sign_must_agree():
    def rows(precision, recall):
        ends = {"holds": (0.2, 0.8), "open": (-0.2, 0.8), "fails": (-0.8, -0.2)}
        signs = {"precision": 1, "recall": -1}
        correlations = []
        for metric, state in (("precision", precision), ("recall", recall)):
            low, high = sorted(signs[metric] * end for end in ends[state])
            correlations.append({"metric": metric, "pearson": 0.5, "ci_low": low, "ci_high": high, "n_classes": 10})
        return correlations

    for states, verdict in (
        (("holds", "holds"), "holds"),
        (("holds", "open"), "holds in part"),
        (("open", "open"), "open"),
        (("fails", "open"), "does not hold"),
        (("fails", "holds"), "holds in part"),
    ):
        assert claims_of({"metric_correlation": rows(*states), "n_real": [50, 50]})[0].verdict == verdict
    (unequal,) = claims_of({"metric_correlation": rows("holds", "holds"), "n_real": [732, 1300]})
    assert "732 to 1,300 real images" in unequal.evidence


def test_similarity_is_open_where_its_test_decides_nothing():
    def overlaps(*tested):
        row = {"site": -1, "k": 10, "criterion": "category_highest"}
        return {"overlap": [{**row, "similarity_spearman": r, "similarity_p": p} for r, p in tested]}

    for tested, verdict in (((0.9, 0.01), "holds"), ((0.9, 0.06), "open"), ((-0.5, 0.9), "does not hold")):
        (claim,) = claims_of(overlaps(tested))
        assert claim.verdict == verdict
    assert claims_of(overlaps((None, None))) == []
    assert claims_of({"overlap": [{"site": 0, "k": 10, "criterion": "category_highest"}]}) == []


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
