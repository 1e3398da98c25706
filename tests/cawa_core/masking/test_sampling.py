import math

import numpy as np
import pytest

from cawa_core.masking.sampling import corrected_mean, correction, regression_mean, sample_mean

MASKS = 4000


def simulated(n, total, heavy, noise=0.5, seed=0):
    """Exact changes ``[MASKS, n]``, cheap ones ``[MASKS, total]`` and the true mean."""
    random = np.random.default_rng(seed)
    cheap = random.standard_normal((MASKS, total))
    if heavy:
        cheap = np.exp(0.8 * cheap)
    left = noise * random.standard_normal((MASKS, total)) * (np.sqrt(np.abs(cheap)) if heavy else 1.0)
    return (0.8 * cheap + left)[:, :n], cheap, 0.8 * math.exp(0.32) if heavy else 0.0


@pytest.mark.parametrize(
    ("n", "total", "heavy"), [(16, 1000, False), (32, 1000, False), (64, 500, True), (65, 200, False)]
)
def test_regression_is_unbiased_and_knows_its_error(n, total, heavy):
    exact, cheap, truth = simulated(n, total, heavy)
    estimate = regression_mean(exact, cheap)
    error = estimate.mean - truth
    assert abs(error.mean()) < 4 * error.std() / math.sqrt(MASKS)
    assert 0.92 <= np.mean(np.abs(error) < 1.96 * estimate.stderr) <= 0.98
    assert estimate.stderr.mean() == pytest.approx(error.std(), rel=0.08)
    assert sample_mean(exact).mean.std() / error.std() > 1.3
    assert (estimate.slope != 0).mean() > 0.99


def test_a_cheap_change_that_explains_nothing_costs_next_to_nothing():
    random = np.random.default_rng(1)
    exact, cheap = random.standard_normal((MASKS, 48)), random.standard_normal((MASKS, 1000))
    estimate = regression_mean(exact, cheap)
    assert estimate.mean.std() < 1.05 * sample_mean(exact).mean.std()
    assert 0.92 <= np.mean(np.abs(estimate.mean) < 1.96 * estimate.stderr) <= 0.98
    constant = regression_mean(exact, np.ones((MASKS, 1000)))
    assert not constant.slope.any()
    np.testing.assert_allclose(constant.mean, exact.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(constant.stderr, sample_mean(exact).stderr, rtol=1e-12)


def test_a_perfect_cheap_change_gives_its_own_mean():
    cheap = np.random.default_rng(2).exponential(size=(5, 300))
    estimate = regression_mean(2 * cheap[:, :20], cheap)
    np.testing.assert_allclose(estimate.mean, 2 * cheap.mean(axis=1), rtol=0.2)
    np.testing.assert_allclose(estimate.stderr, 2 * cheap.std(axis=1, ddof=1) / math.sqrt(300), rtol=1e-6)


def test_the_sample_mean_by_hand():
    estimate = sample_mean(np.array([[1.0, 3.0], [2.0, 2.0]]))
    assert estimate.mean.tolist() == [2.0, 2.0]
    assert estimate.stderr.tolist() == [1.0, 0.0]


def corrected(low, exact, cheap, by_regression):
    """What an exact estimate of the first latents makes of one in lower precision."""
    estimate = regression_mean(low, cheap) if by_regression else sample_mean(low)
    return corrected_mean(estimate, correction(low, exact), low, exact, cheap)


@pytest.mark.parametrize("by_regression", [False, True])
@pytest.mark.parametrize("related", [0.0, 0.3])
def test_a_correction_is_unbiased_and_knows_its_error(by_regression, related):
    """Also where what is wrong goes with what is measured."""
    random = np.random.default_rng(3)
    cheap = random.standard_normal((MASKS, 1000))
    exact = 0.8 * cheap[:, :100] + 0.5 * random.standard_normal((MASKS, 100))
    low = (1 - related) * exact + 0.3 * random.standard_normal(exact.shape) + 0.3
    some = np.where(np.arange(100) < 24, exact, np.nan)
    estimate = corrected(low, some, cheap, by_regression)
    assert abs(estimate.mean.mean()) < 4 * estimate.mean.std() / math.sqrt(MASKS)
    assert 0.92 <= np.mean(np.abs(estimate.mean) < 1.96 * estimate.stderr) <= 0.98
    assert estimate.mean.std() == pytest.approx(math.sqrt(np.mean(estimate.stderr**2)), rel=0.08)


def test_a_correction_on_all_latents_leaves_nothing_of_the_lower_precision():
    random = np.random.default_rng(4)
    exact = random.standard_normal((20, 50))
    estimate = corrected(exact + 0.1 * random.standard_normal((20, 50)), exact, exact, by_regression=False)
    np.testing.assert_allclose(estimate.mean, exact.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(estimate.stderr, sample_mean(exact).stderr, rtol=1e-9)


@pytest.mark.parametrize(("n", "total"), [(7, 100), (20, 19)])
def test_too_few_latents_are_refused(n, total):
    with pytest.raises(ValueError, match=f"at least 8 latents, .*got {n} and {total}"):
        regression_mean(np.zeros((2, n)), np.zeros((2, total)))
