"""Closed form and Monte Carlo against the oracle, each other, and the limits."""

import mpmath
import numpy as np
import pytest
import torch

from cawa_core.awareness import closed_form_awareness, monte_carlo_awareness
from cawa_core.awareness.closed_form import mean_ratio
from cawa_core.awareness.joint_normal import JointNormal, joint_normal
from cawa_core.generators.base import AffineMap, Modulation
from tests.cawa_core.awareness.oracles import ratio_distribution
from tests.conftest import random_fashion_generator
from tests.reference.appendix_a import sampled_awareness

SAFE = 5.0
"""Above this g0/s a sampled mean of β/γ has light tails for the sample sizes here."""


def random_modulation(gain_spread: float, seed: int = 0, channels: int = 150) -> Modulation:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    gain = AffineMap(torch.ones(channels).double(), 0.05 * normal(channels, 4), gain_spread * normal(channels, 8))
    offset = AffineMap(torch.zeros(channels).double(), 0.3 * normal(channels, 4), 0.2 * normal(channels, 8))
    return Modulation(gain, offset)


def steadiness(modulation: Modulation, embeddings: torch.Tensor) -> np.ndarray:
    joint = joint_normal(modulation, embeddings)
    return joint.gain_mean / np.sqrt(joint.gain_variance)


@pytest.mark.parametrize("which", ["bundled", "random"])
def test_closed_form_equals_appendix_a(which, bundled_generator):
    """Within 4 standard errors wherever g0/s > 5; 4 σ is passed by chance once in 16,000 values."""
    generator = bundled_generator if which == "bundled" else random_fashion_generator(4)
    for site, class_id in ((0, 0), (3, 5), (5, 9)):
        embeddings = generator.class_embedding(torch.tensor([class_id]))
        exact = closed_form_awareness(generator.modulation(site), embeddings)
        mean, variance, stderr = sampled_awareness(generator, site, class_id, n_samples=2000, seed=site)
        steady = steadiness(generator.modulation(site), embeddings)[0] > SAFE
        assert steady.sum() > 3
        errors = np.abs(exact.category_awareness[0] - mean) / stderr
        assert errors[steady].max() < 4
        # Var(t) is near its robust form where tails are light: sd of a variance estimate is sqrt(2/2000) = 3%
        very_steady = steadiness(generator.modulation(site), embeddings)[0] > 12
        ratio = exact.latent_awareness_robust[0] / variance
        assert np.all(np.abs(ratio[very_steady] - 1) < 0.2)


@pytest.mark.parametrize("which", ["bundled", "random"])
def test_monte_carlo_equals_closed_form(which, bundled_generator):
    generator = bundled_generator if which == "bundled" else random_fashion_generator(4)
    embeddings = generator.class_embedding(torch.tensor([1, 8]))
    z = generator.sample_latents(0, 2**32 - 1, range(10_000))
    for site in (0, 4):
        modulation = generator.modulation(site)
        exact, sampled = closed_form_awareness(modulation, embeddings), monte_carlo_awareness(modulation, embeddings, z)
        steady = steadiness(modulation, embeddings) > SAFE
        errors = np.abs(exact.category_awareness - sampled.category_awareness) / sampled.category_awareness_stderr
        assert errors[steady].max() < 4.5
        for name, tolerance in (
            ("gain_sign_probability", 0.025),
            ("activation_probability", 0.02),
            ("expected_activation", 0.05),
        ):
            assert np.abs(getattr(exact, name) - getattr(sampled, name)).max() < tolerance
        robust = exact.latent_awareness_robust / sampled.latent_awareness_robust
        assert np.abs(robust - 1).max() < 0.15


def test_monte_carlo_equals_appendix_a_on_the_same_latents(bundled_generator):
    """Same latents, no statistics: the shared latent part changes nothing but rounding."""
    random = torch.Generator().manual_seed(2)
    z = torch.stack([torch.randn(bundled_generator.z_dim, generator=random, dtype=torch.float64) for _ in range(300)])
    embeddings = bundled_generator.class_embedding(torch.tensor([3]))
    ours = monte_carlo_awareness(bundled_generator.modulation(2), embeddings, z)
    mean, variance, stderr = sampled_awareness(bundled_generator, 2, 3, n_samples=300, seed=2)
    np.testing.assert_allclose(ours.category_awareness[0], mean, rtol=1e-9)
    np.testing.assert_allclose(ours.latent_awareness[0], variance, rtol=1e-8)
    np.testing.assert_allclose(ours.category_awareness_stderr[0], stderr, rtol=1e-8)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-5, 1e-8, 1e-14, 0.0])
def test_the_limit_of_a_constant_gain(spread):
    """As s → 0: A → b0/g0, robust L → Var β / g0²; the error falls like s."""
    modulation = random_modulation(0.0)
    noisy = Modulation(random_modulation(spread).gain, modulation.offset)
    embeddings = torch.zeros(1, 4)
    result = closed_form_awareness(noisy, embeddings + 0.5)
    joint = joint_normal(modulation, embeddings + 0.5)
    assert np.isfinite(result.category_awareness).all()
    np.testing.assert_allclose(
        result.category_awareness, joint.offset_mean / joint.gain_mean, atol=20 * spread + 1e-14, rtol=0
    )
    variance = joint.offset_variance / joint.gain_mean**2
    np.testing.assert_allclose(result.latent_awareness_robust, variance, rtol=60 * spread + 1e-9)


def exact_mean_ratio(g0, b0, gain_variance, covariance):
    """The closed form with 60 digits, so that no cancellation matters."""
    with mpmath.workdps(60):
        g0, b0, v, c = (mpmath.mpf(float(value)) for value in (g0, b0, gain_variance, covariance))
        s = mpmath.sqrt(v)
        x = g0 / (mpmath.sqrt(2) * s)
        dawson = mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-(x**2)) * mpmath.erfi(x)
        slope = c / v
        return float(slope + (b0 - slope * g0) * mpmath.sqrt(2) / s * dawson)


@pytest.mark.parametrize("steady", [0.5, 3.0, 20.0, 99.0, 101.0, 1e3, 1e6])
def test_the_closed_form_to_twelve_digits(steady):
    """Either side of the switch to the series at g0/s = 100, and far from it; negative gains too."""
    for g0 in (1.3, -0.8):
        variance = (g0 / steady) ** 2
        values = {"gain_mean": g0, "offset_mean": 0.4, "gain_variance": variance, "covariance": 0.7 * variance**0.5}
        joint = JointNormal(
            **{name: np.array([[value]]) for name, value in values.items()}, offset_variance=np.ones((1, 1))
        )
        expected = exact_mean_ratio(g0, 0.4, variance, values["covariance"])
        assert mean_ratio(joint)[0, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.4])
def test_the_distribution_of_the_ratio(spread):
    """Owen's T against sampled frequencies, also where gains change sign: 5 σ of 40,000 draws."""
    modulation, embeddings = random_modulation(spread, channels=40), torch.ones(1, 4)
    joint = joint_normal(modulation, embeddings)
    z = torch.randn(40_000, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    gain = modulation.gain.class_part(embeddings.double()) + modulation.gain.latent_part(z)
    offset = modulation.offset.class_part(embeddings.double()) + modulation.offset.latent_part(z)
    ratio = (offset / gain).numpy()
    for t in (-0.7, 0.0, 0.3, 2.0):
        expected = ratio_distribution(joint, np.full_like(joint.gain_mean, t))[0]
        assert np.abs((ratio <= t).mean(axis=0) - expected).max() < 5 * 0.5 / np.sqrt(40_000)


def test_statistics_that_do_not_exist_are_nan():
    zero = AffineMap(torch.zeros(1), torch.zeros(1, 4), torch.zeros(1, 8))
    result = closed_form_awareness(Modulation(zero, zero), torch.ones(1, 4))
    assert np.isnan(result.category_awareness).all()
    assert np.isnan(result.latent_awareness).all()
    assert result.gain_sign_probability == 1


def test_one_latent_is_refused():
    with pytest.raises(ValueError, match="z must hold at least 2 latents"):
        monte_carlo_awareness(random_modulation(0.1), torch.zeros(1, 4), torch.zeros(1, 8))
