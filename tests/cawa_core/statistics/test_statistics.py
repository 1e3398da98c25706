import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.signal import savgol_filter

from cawa_core.statistics import overlap
from cawa_core.statistics.correlation import pearson, smoothed, smoothing_matrix, smoothing_window, spearman
from cawa_core.statistics.intervals import bootstrap_mean, bootstrap_pearson, bootstrap_weights
from cawa_core.statistics.mantel import mantel_tests
from cawa_core.statistics.masking_correlation import masking_correlations
from cawa_core.statistics.permutation_null import permutation_null, random_orders
from cawa_core.statistics.similarity import similar_together
from cawa_core.statistics.standard_errors import crossed_standard_error, standard_error


def test_correlations_equal_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 40))
    y[:10] = 0
    assert float(pearson(x, y)) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert np.isnan(pearson(x, np.zeros(40)))
    with warnings.catch_warnings(action="error"):
        assert np.isnan(pearson(x, np.where(np.arange(40) == 7, np.inf, y)))


def test_the_error_over_draws_and_latents_is_as_large_as_means_vary():
    """Over 2,000 repetitions of 8 draws and 30 latents the means' spread is met within 6%, four times its own error."""
    random = np.random.default_rng(0)
    means, variances, latents_alone = [], [], []
    for _ in range(2000):
        values = random.normal(size=(8, 1)) + 0.5 * random.normal(size=30) + 2 * random.normal(size=(8, 30))
        means.append(values.mean())
        variances.append(crossed_standard_error(values) ** 2)
        latents_alone.append(standard_error(values.mean(axis=0)) ** 2)
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.12)  # of the variance, twice that of the spread
    assert np.mean(latents_alone) < 0.3 * np.var(means)
    assert np.isnan(crossed_standard_error(np.ones((1, 30))))
    assert np.isnan(crossed_standard_error(np.ones((8, 1))))
    assert crossed_standard_error(np.ones((8, 30))) == 0


@pytest.mark.parametrize(("n", "window"), [(2048, 51), (52, 51), (51, 51), (50, 49), (6, 5), (5, 5), (4, 0), (3, 0)])
def test_the_window_is_odd_and_fits(n, window):
    assert smoothing_window(n) == window


def test_smoothing_is_the_papers_filter():
    values = np.random.default_rng(0).normal(size=128)
    np.testing.assert_allclose(smoothed(values), savgol_filter(values, 51, 3))


@pytest.mark.parametrize("n", [3, 4, 6, 50, 51, 130])
def test_smoothing_is_a_matrix(n):
    values = np.random.default_rng(0).normal(size=(2, n))
    np.testing.assert_allclose(values @ smoothing_matrix(n).T, smoothed(values), atol=1e-12)


@pytest.mark.parametrize("n", [3, 5, 40, 130])
def test_the_null_is_that_of_permuting_smoothing_and_correlating(n):
    """Five classes, more than are computed at once; float32 against float64."""
    random = np.random.default_rng(0)
    x, y = np.sort(random.normal(size=(2, 5, n))), 1e-4 * random.normal(size=(3, 5, n)) + 7
    y[1, 2] = 0.5
    x[1, 4] = 3
    orders = random_orders(n, 60, random)
    observed = random.uniform(-0.5, 0.5, size=(2, 3, 5))
    found = permutation_null(x, y, observed, orders)
    for predictor, effect, one in np.ndindex(2, 3, 5):
        place = predictor, effect, one
        null = pearson(x[predictor, one], smoothed(y[effect, one][orders.T]))
        if (effect, one) == (1, 2) or (predictor, one) == (1, 4):
            continue  # does not vary: the caller's to leave out
        assert found.mean[place] == pytest.approx(null.mean(), abs=1e-5)
        assert found.std[place] == pytest.approx(null.std(ddof=1), abs=1e-5)
        expected = (1 + (np.abs(null) >= abs(observed[place])).sum()) / 61
        assert found.p_value[place] == pytest.approx(expected, abs=1e-9)


def test_an_order_that_changes_nothing_counts_as_reached():
    """Every order is the given one: the null equals the observed r but for rounding, and p must be 1."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 1, 9, 60))
    result = masking_correlations(x, y, np.tile(np.arange(60)[:, None], 30))
    order = np.argsort(x[0], axis=1)
    orders = np.tile(order[0][:, None], 30)
    assert (masking_correlations(x[:, :1], y[:, :1], orders).p_value == 1).all()
    assert (result.p_value > 0).all()


def test_a_real_relation_beats_its_null_and_noise_does_not():
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, 1, 200, 80))
    orders = [random_orders(80, 200, np.random.default_rng(trial)) for trial in range(200)]
    p_values = [masking_correlations(x[:, [i]], noise[:, [i]], orders[i]).p_value.item() for i in range(200)]
    # uniform under the null: a Kolmogorov-Smirnov test that fails by chance once in a thousand seeds
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    related = masking_correlations(x[:, :1], x[:, :1] + noise[:, :1], orders[0])
    assert related.p_value.item() < 0.01
    assert related.pearson_smoothed.item() > related.pearson.item() > 0.5
    assert abs(related.null_mean.item()) < 0.2


def test_what_does_not_vary_and_too_few_groups_are_undefined():
    constant, varied = np.full((1, 1, 9), 0.1), np.arange(9.0).reshape(1, 1, 9)
    orders = random_orders(9, 20, np.random.default_rng(0))
    for predictor, effect in ((constant, varied), (varied, constant)):
        result = masking_correlations(predictor, effect, orders)
        for name in ("pearson_smoothed", "pearson", "spearman", "null_mean", "null_std", "p_value"):
            assert np.isnan(getattr(result, name)).all(), name
    few = masking_correlations(varied[..., :2], varied[..., :2], random_orders(2, 20, np.random.default_rng(0)))
    assert few.n_groups.item() == 2
    assert np.isnan(few.pearson_smoothed).all()


def test_overlap_by_hand():
    ranking = np.array([[9.0, 8, 1, 0, np.nan], [9, 0, 8, 1, np.nan], [np.nan, 0, 8, 9, 1]])
    top = overlap.top_channels(ranking, 2)
    assert top.tolist() == [[0, 1], [0, 2], [3, 2]]
    assert overlap.overlap_counts(top).tolist() == [[2, 1, 0], [1, 2, 1], [0, 1, 2]]
    assert [part.tolist() for part in overlap.class_counts(top)] == [[0, 1, 2, 3], [2, 1, 2, 1]]
    with pytest.raises(ValueError, match=r"k must be in 1\.\.5"):
        overlap.top_channels(ranking, 6)


@pytest.mark.parametrize("n_channels", [12, 40, 100_000])
def test_overlaps_are_those_of_sets(n_channels):
    """Many channels in common, some, and next to none: dense and sparse."""
    random = np.random.default_rng(0)
    top = np.stack([random.choice(n_channels, 10, replace=False) for _ in range(30)])
    top[1] = top[0][::-1]
    expected = [[len(set(one) & set(other)) for other in top.tolist()] for one in top.tolist()]
    assert overlap.overlap_counts(top).tolist() == expected


@pytest.mark.parametrize("values", [2, 5, 1000])
def test_top_channels_are_those_of_a_stable_sort(values):
    """With many ties and with few; NaN last."""
    random = np.random.default_rng(values)
    ranking = random.integers(values, size=(50, 70)).astype(np.float32)
    ranking[random.random(ranking.shape) < 0.1] = np.nan
    expected = np.argsort(-np.nan_to_num(ranking, nan=-np.inf), axis=1, kind="stable")
    for k in (1, 7, 69, 70):
        np.testing.assert_array_equal(overlap.top_channels(ranking, k), expected[:, :k])


@pytest.mark.parametrize("at_least", [3, 2, 1])
def test_sharing_by_chance_is_what_random_sets_give(at_least):
    """1,000 draws of three random sets; 5 standard errors."""
    random = np.random.default_rng(0)
    tops = (overlap.top_channels(random.normal(size=(3, 20)), 8) for _ in range(1000))
    counts = [(overlap.class_counts(top)[1] >= at_least).sum() for top in tops]
    expected = overlap.shared_by_chance(20, 8, 3, at_least)
    assert abs(np.mean(counts) - expected) < 5 * np.std(counts) / np.sqrt(1000)
    assert overlap.shared_by_chance(20, 8, 3) == overlap.shared_by_chance(20, 8, 3, 3)


def test_classes_of_a_share_are_whole_and_one_at_least():
    assert [overlap.classes_of_share(0.9, n) for n in (1, 9, 10, 1000)] == [1, 9, 9, 900]
    assert [overlap.classes_of_share(0.5, n) for n in (1, 2, 3)] == [1, 1, 2]
    assert overlap.classes_of_share(0.0, 5) == 1


def test_intervals_cover_what_they_should():
    """95% intervals of a mean over 200 draws of 40 values: 88% to 99% cover it."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_mean(random.normal(size=40), bootstrap_weights(40, 400, random))
        hits += interval.low <= 0 <= interval.high
    assert 176 <= hits <= 198
    weights = bootstrap_weights(5, 300, np.random.default_rng(1))
    drawn = np.random.default_rng(1).integers(5, size=(300, 5))
    np.testing.assert_allclose(weights @ np.arange(5.0), drawn.mean(axis=1))
    x = np.arange(30.0)
    assert bootstrap_pearson(x, x + random.normal(size=30), 300, random).low > 0.9


def naive_mantel(one, other, orders):
    upper = np.triu_indices(len(one), 1)
    ranked = [stats.spearmanr(one[np.ix_(order, order)][upper], other[upper]).statistic for order in orders]
    return np.array(ranked)


def test_mantel_tests_equal_ranking_again_for_every_permutation():
    random = np.random.default_rng(0)
    points = random.normal(size=(9, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = np.rint(10 - 2 * distances).astype(int)
    noise = random.integers(5, size=(9, 9))
    upper = np.triu_indices(9, 1)
    others = np.stack([near[upper], noise[upper], np.full(36, 3)]).astype(np.uint16)
    r, p, spread = mantel_tests(-distances, others, 300, np.random.default_rng(1))
    orders = np.random.default_rng(1).permuted(np.tile(np.arange(9), (300, 1)), axis=1)
    for test, other in enumerate((near, np.triu(noise) + np.triu(noise, 1).T)):
        null = naive_mantel(-distances, other, orders)
        observed = naive_mantel(-distances, other, [np.arange(9)])[0]
        assert r[test] == pytest.approx(observed)
        assert p[test] == pytest.approx((1 + (null >= observed - 1e-9).sum()) / 301)
        assert spread[test] == pytest.approx(np.std(null), rel=1e-4)
    assert r[0] > 0.8
    assert p[0] < 0.01 < p[1]
    assert np.isnan(r[2])
    assert np.isnan(p[2])


def test_all_permutations_are_used_for_few_classes():
    distances = np.abs(np.subtract.outer(np.array([0.0, 1, 3, 7]), np.array([0.0, 1, 3, 7])))
    pairs = distances[np.triu_indices(4, 1)].astype(np.uint16)
    _, p, _ = mantel_tests(distances, pairs[None], 500, np.random.default_rng(0))
    assert p[0] == pytest.approx(1 / 24)


def test_similar_classes_are_adjacent():
    points = np.array([0.0, 10, 0.1, 10.1, 0.2])
    order = similar_together(np.abs(points[:, None] - points[None]))
    groups = [place % 2 for place in order]
    assert sum(a != b for a, b in pairwise(groups)) == 1
