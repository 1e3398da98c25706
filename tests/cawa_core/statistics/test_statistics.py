from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.signal import savgol_filter

from cawa_core.statistics import overlap
from cawa_core.statistics.correlation import (
    masking_correlation,
    pearson,
    smoothed,
    smoothed_permutations,
    smoothing_window,
    spearman,
)
from cawa_core.statistics.intervals import bootstrap_mean, bootstrap_pearson, mantel_test
from cawa_core.statistics.similarity import similar_together


def test_correlations_equal_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 40))
    y[:10] = 0
    assert float(pearson(x, y)) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert np.isnan(pearson(x, np.zeros(40)))


@pytest.mark.parametrize(("n", "window"), [(2048, 51), (52, 51), (51, 51), (50, 49), (6, 5), (5, 5), (4, 0), (3, 0)])
def test_the_window_is_odd_and_fits(n, window):
    assert smoothing_window(n) == window


def test_smoothing_is_the_papers_filter():
    values = np.random.default_rng(0).normal(size=128)
    np.testing.assert_allclose(smoothed(values), savgol_filter(values, 51, 3))


def test_a_real_relation_beats_its_null_and_noise_does_not():
    random = np.random.default_rng(0)
    p_values = []
    for trial in range(200):
        x, noise = random.normal(size=(2, 80))
        null = smoothed_permutations(noise, 200, np.random.default_rng(trial))
        p_values.append(masking_correlation(x, noise, null).p_value)
    # uniform under the null: a Kolmogorov-Smirnov test that fails by chance once in a thousand seeds
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    x = random.normal(size=80)
    related = x + random.normal(size=80)
    result = masking_correlation(x, related, smoothed_permutations(related, 200, random))
    assert result.p_value < 0.01
    assert result.pearson_smoothed > result.pearson > 0.5
    assert abs(result.null_mean) < 0.2


def test_too_few_groups_are_undefined():
    result = masking_correlation(np.arange(2.0), np.arange(2.0), np.zeros((20, 2)))
    assert result.n_groups == 2
    assert np.isnan(result.pearson_smoothed)


def test_overlap_by_hand():
    ranking = np.array([[9.0, 8, 1, 0, np.nan], [9, 0, 8, 1, np.nan], [np.nan, 0, 8, 9, 1]])
    members = overlap.top_members(ranking, 2)
    np.testing.assert_allclose(overlap.overlap_matrix(members), [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    assert overlap.shared_by_all(members) == 0
    assert overlap.shared_by_all(overlap.top_members(ranking[:2], 3)) == 2
    assert overlap.first_choices(ranking) == {0: 2, 3: 1}
    with pytest.raises(ValueError, match=r"k must be in 1\.\.5"):
        overlap.top_members(ranking, 6)


def test_sharing_by_chance_is_what_random_sets_give():
    """1,000 draws of three random sets; 5 standard errors."""
    random = np.random.default_rng(0)
    counts = [overlap.shared_by_all(overlap.top_members(random.normal(size=(3, 20)), 8)) for _ in range(1000)]
    assert abs(np.mean(counts) - overlap.shared_by_chance(20, 8, 3)) < 5 * np.std(counts) / np.sqrt(1000)


def test_intervals_cover_what_they_should():
    """95% intervals of a mean over 200 draws of 40 values: 88% to 99% cover it."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_mean(random.normal(size=40), 400, random)
        hits += interval.low <= 0 <= interval.high
    assert 176 <= hits <= 198
    x = np.arange(30.0)
    assert bootstrap_pearson(x, x + random.normal(size=30), 300, random).low > 0.9


def test_the_mantel_test_knows_structure_from_noise():
    random = np.random.default_rng(0)
    points = random.normal(size=(8, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    r, p = mantel_test(distances, distances + 0.1 * np.abs(random.normal(size=(8, 8))), 500, random)
    assert r > 0.8
    assert p < 0.01
    exact = mantel_test(distances[:4, :4], distances[:4, :4], 500, random)
    assert exact[1] in (pytest.approx(1 / 24), pytest.approx(2 / 24))


def test_similar_classes_sit_together():
    points = np.array([0.0, 10, 0.1, 10.1, 0.2])
    order = similar_together(np.abs(points[:, None] - points[None]))
    groups = [place % 2 for place in order]
    assert sum(a != b for a, b in pairwise(groups)) == 1
