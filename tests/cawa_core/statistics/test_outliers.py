"""Robust deviations against their definition, and how often a class stands out by chance."""

import numpy as np
import pytest

from cawa_core.statistics.outliers import FEWEST, largest_by_chance, robust_deviations


def test_deviations_are_those_of_the_median_and_its_absolute_deviation():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    np.testing.assert_allclose(robust_deviations(values), np.array([-2, -1, 0, 1, 97, np.nan]) / 1.4826)


def test_equal_values_deviate_by_nothing_and_few_are_unknown():
    assert not robust_deviations(np.ones(8)).any()
    assert np.isnan(robust_deviations(np.arange(FEWEST - 1.0))).all()


def test_where_most_values_are_equal_the_mean_deviation_is_the_scale():
    values = np.array([1.0] * 9 + [0.0])
    np.testing.assert_allclose(robust_deviations(values)[-1], -1 / (0.1 * 1.2533))


@pytest.mark.parametrize(("n", "level"), [(10, 0.05), (30, 0.05 / 8), (1000, 0.05)])
def test_the_largest_by_chance_is_exceeded_as_often_as_stated(n, level):
    random = np.random.default_rng(1)
    trials = 2000 if n < 1000 else 600
    bound = largest_by_chance(n, level)
    rate = np.mean([robust_deviations(random.normal(5, 3, n)).max() > bound for _ in range(trials)])
    assert abs(rate - level) < 3.5 * np.sqrt(level * (1 - level) / trials)


def test_a_few_planted_classes_do_not_hide_each_other():
    values = np.random.default_rng(2).normal(size=1000)
    values[:30] += 8
    outlying = np.flatnonzero(robust_deviations(values) > largest_by_chance(1000))
    assert outlying.tolist() == list(range(30))
