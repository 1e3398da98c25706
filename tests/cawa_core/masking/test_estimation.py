import numpy as np
import pytest

from cawa_core.masking.effects import changes
from cawa_core.masking.estimation import SamplingPlan, estimated_effects, in_given_order

LATENTS = 1024


def simulated_site(n_masks, latents, seed=0, rare=False):
    """Log-probabilities without ``[n]`` and with masks ``[m, n]``, exact and screened; spreads differ a hundredfold."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(2.0, 1.5, latents)
    size = np.exp(random.uniform(np.log(0.01), np.log(1.0), n_masks))[:, None]
    fall = size * (0.5 + random.standard_normal((n_masks, latents)))
    if rare:
        fall = fall * np.where(random.random((n_masks, latents)) < 0.03, 10.0, 0.2)
    exact = fall + 0.5 * np.abs(fall) * random.standard_normal((n_masks, latents))
    return tuple(-np.logaddexp(0, -values) for values in (log_odds, log_odds - exact, log_odds - fall))


def estimates_of(site, plan):
    unmasked, masked, screened = (values[..., : plan.latents] for values in site)

    def scores(of):
        return lambda latents, masks: (unmasked[latents.start : latents.stop], of[masks][:, latents])

    low = scores(in_low_precision(masked)) if plan.estimator == "two_precisions" else None
    return estimated_effects(scores(masked), changes(unmasked, screened), plan, low)


def in_low_precision(log_scores):
    """Log-probabilities whose odds are off by noise, and by a little in the mean."""
    noise = 0.02 * np.random.default_rng(9).standard_normal(log_scores.shape) + 0.005
    return -np.logaddexp(0, np.log(np.expm1(-np.minimum(log_scores, -1e-12))) + noise)


def test_exact_is_the_mean_over_all_latents():
    site = simulated_site(5, 40)
    found = estimates_of(site, SamplingPlan("exact", 40, 8))
    expected = changes(*site[:2])
    for name, values in expected.items():
        np.testing.assert_allclose(found.columns[name], values.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.columns[f"{name}_stderr"], values.std(axis=1, ddof=1) / np.sqrt(40))
    assert found.method.tolist() == ["exact"] * 5
    assert found.n_samples.tolist() == [40] * 5


def test_screening_masks_nothing():
    unmasked, _, screened = site = simulated_site(5, 40)
    found = estimates_of(site, SamplingPlan("screening", 40, 8))
    np.testing.assert_allclose(found.columns["score_change"], changes(unmasked, screened)["score_change"].mean(axis=1))
    assert found.method.tolist() == ["screening"] * 5
    assert found.n_samples.tolist() == [0] * 5


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("estimator", ["exact", "regression", "two_precisions"])
def test_adaptive_sampling_never_stops_by_luck(estimator, rare):
    """Means of masks that stopped early cover the truth as often as the others."""
    truth_site = simulated_site(400, 60_000, rare=rare)
    truth = changes(*truth_site[:2])["score_change"].mean(axis=1)
    target, stopped, covered, counts = 0.004, [], [], []
    for start in range(0, 20 * LATENTS, LATENTS):
        site = tuple(values[..., start : start + LATENTS] for values in truth_site)
        found = estimates_of(site, SamplingPlan(estimator, LATENTS, 32, target))
        stderr = found.columns["score_change_stderr"]
        early = found.n_samples < LATENTS
        assert (stderr[early] <= target).all()
        stopped.append(early)
        covered.append(np.abs(found.columns["score_change"] - truth) < 1.96 * stderr)
        counts.append(found.n_samples)
    stopped, covered, counts = np.stack(stopped), np.stack(covered), np.stack(counts)
    assert set(np.unique(counts)) <= set(SamplingPlan(estimator, LATENTS, 32, target).rounds())
    assert len(set(np.unique(counts))) > 12
    assert stopped.mean() > 0.5
    assert 0.93 <= covered[stopped].mean() <= 0.99  # wary: a little too wide rather than too narrow
    assert 0.93 <= covered.mean() <= 0.99


def test_no_signed_change_is_larger_than_the_absolute_one():
    """With few latents some of the separate estimates would be."""
    found = estimates_of(simulated_site(2000, 64), SamplingPlan("regression", 64, 8))
    for name in ("score_change", "log_score_change"):
        assert (np.abs(found.columns[name]) <= found.columns[f"{name}_abs"]).all()
        assert (np.abs(found.columns[name]) == found.columns[f"{name}_abs"]).any()


def test_rounds_grow_by_a_quarter_up_to_all_latents():
    assert SamplingPlan("exact", 100, 16).rounds() == [100]
    assert SamplingPlan("regression", 100, 16).rounds() == [16]
    assert SamplingPlan("regression", 12, 16).rounds() == [12]
    assert SamplingPlan("exact", 100, 16, 0.01).rounds() == [16, 20, 25, 32, 40, 50, 63, 79, 99, 100]
    assert SamplingPlan("two_precisions", 100, 16).rounds() == [16, 100]
    assert SamplingPlan("two_precisions", 12, 16).rounds() == [12]
    assert SamplingPlan("screening", 100, 16).rounds() == []


def test_parts_come_back_in_the_order_of_their_masks():
    unmasked, masked, screened = simulated_site(4, 40)
    first, second = np.array([2, 0]), np.array([1, 3])
    parts = [
        (rows, estimates_of((unmasked, masked[rows], screened[rows]), SamplingPlan(estimator, 40, 8)))
        for rows, estimator in ((first, "exact"), (second, "screening"))
    ]
    together = in_given_order(parts)
    assert together.method.tolist() == ["exact", "screening", "exact", "screening"]
    whole = estimates_of((unmasked, masked, screened), SamplingPlan("exact", 40, 8))
    np.testing.assert_array_equal(together.columns["score_change"][[0, 2]], whole.columns["score_change"][[0, 2]])
