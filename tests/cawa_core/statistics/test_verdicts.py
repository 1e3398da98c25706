"""Robust estimates over classes, and the error rates of the verdicts that they decide."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.error_rates.correlations import decided, quantities, rates
from benchmarks.error_rates.medians import shares
from cawa_core.statistics.intervals import bootstrap_counts
from cawa_core.statistics.outliers import few, left_out, robust_scores, supporters
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.statistics.verdicts import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    SMALLEST_CORRELATION,
    UNKNOWN,
    Estimate,
    decide,
    joint_verdict,
    median_estimate,
    rank_correlation,
    resampled_rank_correlations,
)

STATED = 0.025
"""Stated rate of "holds" where there is no effect, and of "does not hold" where there is one that counts."""


def at_most(stated, simulations):
    """Return the largest share of simulations that three standard deviations of chance allow."""
    return stated + 3 * np.sqrt(stated * (1 - stated) / simulations)


@pytest.mark.parametrize("n_outliers", [0, 1])
@pytest.mark.parametrize(("n_classes", "simulations"), [(10, 200), (30, 150), (100, 60)])
def test_a_claim_without_effect_holds_no_more_often_than_stated(n_classes, simulations, n_outliers):
    planted = n_outliers * min(3, n_classes // 10)
    found = rates(n_classes, 0.0, planted, simulations)
    assert found.holds <= at_most(STATED, simulations)
    if planted and n_classes >= 30:
        assert found.pearson_holds > 0.4  # what decided before
        assert found.flips <= 0.02


def test_a_claim_with_an_effect_that_counts_is_seldom_denied_and_a_large_one_is_found():
    assert rates(30, SMALLEST_CORRELATION, 0, 150).fails <= at_most(STATED, 150)
    assert rates(100, 0.5, 3, 30).holds > 0.9


def test_a_median_is_decided_at_the_stated_rate_whatever_the_outliers():
    for n_classes, n_outliers in ((10, 0), (10, 1), (100, 3)):
        assert shares(n_classes, 0.0, n_outliers, 400)["holds"] <= at_most(STATED, 400)
        assert shares(n_classes, 0.01, n_outliers, 400)["does not hold"] <= at_most(STATED, 400)
    assert shares(100, 0.05, 3, 100)["holds"] == 1


def test_the_rule_of_the_verdicts():
    for (value, low, high, p_value), verdict in {
        (0.5, 0.2, 0.7, 0.01): "holds",
        (0.5, 0.2, 0.7, 0.06): "open",
        (0.15, 0.05, 0.25, 0.01): "open",
        (0.09, 0.03, 0.15, 0.001): "does not hold",
        (0.0, -0.5, 0.5, 0.9): "open",
        (-0.5, -0.7, -0.3, 0.01): "does not hold",
    }.items():
        estimate = Estimate(value, low, high, p_value)
        assert decide(estimate, 1, 0.2) == verdict
        assert decide(Estimate(-value, -high, -low, p_value), -1, 0.2) == verdict
    assert decide(UNKNOWN, 1, 0.2) == "open"


def test_every_part_of_a_claim_must_hold():
    cases = ([HOLDS, HOLDS], HOLDS), ([HOLDS, FAILS], IN_PART), ([HOLDS, OPEN], IN_PART), ([IN_PART, FAILS], IN_PART)
    for verdicts, verdict in (*cases, ([OPEN, FAILS], OPEN), ([FAILS, FAILS], FAILS)):
        assert joint_verdict(verdicts) == verdict


@pytest.mark.parametrize("decimals", [9, 0])
def test_rank_correlations_of_resamples_are_those_of_ranking_them_again(decimals):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 12)).round(decimals)
    counts = bootstrap_counts(12, 20, random)
    found = resampled_rank_correlations(x, y, counts)
    for row, count in zip(found, counts.astype(int), strict=True):
        drawn = np.repeat(np.arange(12), count)
        assert row == pytest.approx(stats.spearmanr(x[drawn], y[drawn]).statistic)


def test_a_rank_correlation_has_the_p_value_of_its_permutations():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 40))
    y += x
    estimate = rank_correlation(x, y, bootstrap_counts(40, 500, random), random_orders(40, 999, random))
    expected = stats.spearmanr(x, y)
    assert estimate.value == pytest.approx(expected.statistic)
    assert estimate.low < estimate.value < estimate.high
    assert estimate.p_value == pytest.approx(max(expected.pvalue, 1e-3), abs=2e-3)
    assert rank_correlation(np.ones(40), y, bootstrap_counts(40, 9, random), random_orders(40, 9, random)) == UNKNOWN


def test_the_interval_of_a_median_is_exact():
    assert np.isnan(median_estimate(np.arange(5.0)).low)
    six = median_estimate(np.array([3.0, 1, 2, 6, 5, 4]))
    assert (six.low, six.value, six.high) == (1, 3.5, 6)
    ten = median_estimate(np.arange(10.0))
    assert (ten.low, ten.high) == (1, 8)
    assert stats.binom.cdf(1, 10, 0.5) <= 0.025 < stats.binom.cdf(2, 10, 0.5)
    assert np.isnan(median_estimate(np.array([])).value)


def test_outliers_are_far_by_the_median_and_few():
    values = np.r_[np.arange(-10.0, 10), 500]
    assert left_out(values).tolist() == [20]
    assert left_out(np.zeros(21), values).tolist() == [20]
    assert len(left_out(np.r_[np.zeros(20), 1])) == 0
    assert len(left_out(np.r_[np.arange(-10.0, 10), 500, 600, 700])) == 0  # three of 23 are a heavy tail
    assert robust_scores(values)[20] == pytest.approx((500 - 0) / (1.4826 * 5), rel=0.1)
    assert np.isnan(robust_scores(np.array([np.nan, 1, 2]))[0])
    assert [few(n) for n in (9, 10, 30, 100, 1000)] == [0, 1, 3, 3, 10]


def test_supporters_are_those_whose_omission_lowers_the_correlation_most():
    random = np.random.default_rng(0)
    x, y = quantities(40, 0.0, 3, random)
    assert set(supporters(x, y, 1, 3, by_ranks=False)) == {0, 1, 2}
    place = supporters(x, y, -1, 1, by_ranks=True)[0]
    omitted = [stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(40)]
    assert omitted[place] > np.quantile(omitted, 0.9)


def test_a_verdict_that_hangs_on_few_classes_names_the_fewest():
    random = np.random.default_rng(14)
    x, y = quantities(31, 0.35, 0, random)
    correlation = decided(x, y, 0)
    assert (correlation.verdict, len(correlation.outliers), len(correlation.hangs_on)) == ("holds", 0, 2)
    rest = np.delete(np.arange(31), correlation.hangs_on)
    assert decided(x[rest], y[rest], 0).verdict == "open"
    assert correlation.robust_without == pytest.approx(stats.spearmanr(x[rest], y[rest]).statistic)
    first = np.delete(np.arange(31), correlation.hangs_on[:1])
    assert decided(x[first], y[first], 0).verdict == "holds"


def test_a_verdict_of_many_classes_hangs_on_none():
    random = np.random.default_rng(0)
    sure = decided(*quantities(100, 0.8, 0, random), 0)
    assert (sure.verdict, len(sure.hangs_on)) == ("holds", 0)
