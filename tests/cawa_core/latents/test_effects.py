"""Slopes, rank correlations and their tests, against SciPy; p-values under the null."""

import numpy as np
import pytest
from scipy import stats

from cawa_core.latents.effects import effects_of
from cawa_core.latents.predictions import prediction
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.statistics.pooling import pooled, rise_p_value

GRID = (-3.0, -1.5, 0.0, 1.5, 3.0)


def test_slopes_correlations_and_tests_are_those_of_scipy():
    random = np.random.default_rng(0)
    scores = random.standard_normal((7, 3, 5, 2)) + np.array(GRID)[:, None] * np.array([0.3, 0.0])
    effects = effects_of(scores, GRID, np.ones(2))
    for place in range(3):
        for concept in range(2):
            lines = [stats.linregress(GRID, scores[row, place, :, concept]).slope for row in range(7)]
            ranks = [stats.spearmanr(GRID, scores[row, place, :, concept]).statistic for row in range(7)]
            assert effects.effect[place, concept] == pytest.approx(np.mean(lines))
            assert effects.effect_stderr[place, concept] == pytest.approx(stats.sem(lines))
            assert effects.rank_correlation[place, concept] == pytest.approx(np.mean(ranks))
            assert effects.p_value[place, concept] == pytest.approx(stats.ttest_1samp(lines, 0).pvalue)


def test_rounding_is_no_effect():
    random = np.random.default_rng(0)
    scores = np.ones((4, 2, 5, 1)) + 1e-9 * random.standard_normal((4, 2, 5, 1)) + 1e-9 * np.array(GRID)[:, None]
    effects = effects_of(scores, GRID, np.ones(1))
    assert not effects.effect.any()
    assert not effects.rank_correlation.any()
    assert (effects.p_value == 1).all()


def test_a_single_latent_has_an_effect_without_an_error():
    effects = effects_of(np.array(GRID).reshape(1, 1, 5, 1) * 2, GRID, np.ones(1))
    assert effects.effect[0, 0] == pytest.approx(2)
    assert np.isnan(effects.effect_stderr[0, 0])
    assert np.isnan(effects.p_value[0, 0])


def test_p_values_are_uniform_where_nothing_has_an_effect():
    random = np.random.default_rng(1)
    effects = effects_of(random.standard_normal((8, 400, 5, 5)), GRID, np.ones(5))
    assert stats.kstest(effects.p_value.ravel(), "uniform").pvalue > 0.01
    assert (adjusted(effects.p_value.ravel()) > 0.05).all()
    parts = [effects_of(random.standard_normal((2, 400, 5, 5)), GRID, np.ones(5)) for _ in range(6)]
    p_values = pooled(
        np.stack([part.effect for part in parts]), np.stack([part.effect_stderr for part in parts]), np.full(6, 2)
    )[2]
    assert stats.kstest(p_values.ravel(), "uniform").pvalue > 0.01


def test_pooled_effects_are_those_of_all_latents_together():
    random = np.random.default_rng(2)
    slopes = [random.standard_normal((count, 3)) + 0.4 for count in (2, 5, 1)]
    effect = np.stack([part.mean(axis=0) for part in slopes])
    with np.errstate(invalid="ignore"):
        stderr = np.stack([stats.sem(part) if len(part) > 1 else np.full(3, np.nan) for part in slopes])
    mean, error, p_value = pooled(effect, stderr, np.array([2, 5, 1]))
    together = np.concatenate(slopes)
    np.testing.assert_allclose(mean, together.mean(axis=0))
    np.testing.assert_allclose(error, stats.sem(together))
    np.testing.assert_allclose(p_value, stats.ttest_1samp(together, 0).pvalue)


def test_a_rise_is_tested_on_one_side():
    values = np.array([0.2, 0.5, -0.1, 0.4])
    assert rise_p_value(values) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)
    for value, count in ((0.1, 3), (0.1, 6), (1 / 3, 7), (1e6 + 0.1, 5)):  # whose mean is rounded
        assert rise_p_value(np.full(count, value)) == 0.5**count
        equal = np.full((count, 1), value), np.full((count, 1), np.nan), np.ones(count, dtype=int)
        assert pooled(*equal)[2] == pytest.approx(2 * 0.5**count)
    assert rise_p_value(np.zeros(4)) == 1
    assert rise_p_value(np.full(4, 0.5)) == 1 / 16  # equal values have no error: the sign test
    assert rise_p_value(np.full(4, -0.5)) == 1


def test_equal_slopes_are_no_certainty():
    """Two latents whose counts change alike say little; a zero error would make the p-value zero."""
    scores = np.zeros((2, 1, 5, 1))
    scores[:, 0, 3:, 0] = 1
    effects = effects_of(scores, GRID, np.ones(1))
    assert effects.effect[0, 0] > 0
    assert effects.p_value[0, 0] == 0.5


def test_predictions_of_the_same_values_correlate_and_p_values_are_uniform_by_chance():
    random = np.random.default_rng(3)
    orders = random_orders(30, 400, random)
    measured = random.standard_normal((5, 30))
    same = prediction(np.exp(measured), measured, orders)
    assert same.rank_correlation == pytest.approx(1)
    assert same.p_value == pytest.approx(1 / 401)
    ratio = stats.spearmanr(measured.ravel(), measured.ravel() ** 3 + random.standard_normal(150)).statistic
    assert abs(ratio) < 1
    p_values = [
        prediction(random.standard_normal((5, 30)), random.standard_normal((5, 30)), orders).p_value for _ in range(300)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_prediction_is_spearmans_correlation_over_channels_and_dimensions():
    random = np.random.default_rng(4)
    left, right = random.standard_normal((2, 6, 10))
    expected = stats.spearmanr(left.ravel(), right.ravel()).statistic
    found = prediction(left, right, random_orders(10, 50, random))
    assert found.rank_correlation == pytest.approx(expected)
    assert np.isnan(prediction(np.zeros((6, 10)), right, random_orders(10, 50, random)).rank_correlation)
    assert np.isnan(prediction(left[:, :2], right[:, :2], random_orders(2, 50, random)).rank_correlation)
