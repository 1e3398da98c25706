"""Chunked moments against moments of all features, and the Fréchet distance from them against its definition."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.moments import CHUNK_ROWS, MomentStream, mean_of, moments_of
from tests.cawa_core.class_metrics.test_class_metrics import features


@pytest.mark.parametrize("n", [1, 2, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 300])
def test_moments_by_the_chunk_are_those_of_all_at_once(n):
    """A large mean, so that sums of squares would lose nine digits."""
    rows = features(n, 7, 0, shift=3e4)
    moments = moments_of(rows)
    assert moments.count == n
    np.testing.assert_allclose(moments.mean, rows.double().mean(dim=0), rtol=1e-14)
    centred = rows.double() - rows.double().mean(dim=0)
    np.testing.assert_allclose(moments.scatter, centred.T @ centred, rtol=1e-10, atol=1e-10)
    assert torch.equal(mean_of(rows), moments.mean) or n > CHUNK_ROWS


def test_merging_is_symmetric_and_takes_unequal_parts():
    rows = features(500, 7, 0, shift=5)
    whole, parts = moments_of(rows), [moments_of(part) for part in (rows[:3], rows[3:])]
    for one, other in (parts, parts[::-1]):
        merged = one.merge(other)
        assert merged.count == 500
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
        np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 7, 64, CHUNK_ROWS, 3 * CHUNK_ROWS])
def test_a_stream_gives_the_same_bits_whatever_the_batches(batch):
    rows = features(2 * CHUNK_ROWS + 100, 5, 0)
    stream = MomentStream()
    for part in rows.split(batch):
        stream.add(part)
        stream.add(part[:0])
    whole, streamed = moments_of(rows), stream.moments()
    assert streamed.count == len(rows)
    assert torch.equal(streamed.mean, whole.mean)
    assert torch.equal(streamed.scatter, whole.scatter)


def test_a_stream_holds_a_chunk_at_most():
    """Views of earlier chunks count, too."""
    stream = MomentStream()
    for _ in range(50):
        stream.add(torch.ones(100, 3))
        stream.add(torch.ones(100, 3)[:0])
        held = sum(part.untyped_storage().nbytes() for part in stream._pending)
        assert held < (CHUNK_ROWS + 100) * 3 * 4


def test_moments_without_features():
    assert MomentStream().moments() is None
    with pytest.raises(ValueError, match=r"features must be \[n >= 1, d\]; got shape \[0, 3\]"):
        moments_of(torch.zeros(0, 3))


def defined_distance(real, fake):
    """Heusel et al. (2017), eq. 6, by scipy's matrix square root."""
    (mean, sigma), (other_mean, other_sigma) = [
        (part.double().mean(dim=0).numpy(), np.cov(part.double().numpy().T)) for part in (real, fake)
    ]
    root = scipy.linalg.sqrtm(sigma @ other_sigma)
    return np.square(mean - other_mean).sum() + np.trace(sigma + other_sigma) - 2 * np.trace(root).real


SIZES = [(300, 2500, 24), (60, 1500, 100), (60, 50, 100), (300, 40, 100), (40, 300, 100)]


@pytest.mark.parametrize(("n_real", "n_fake", "dim"), SIZES)
def test_every_route_gives_the_same_distance(n_real, n_fake, dim):
    real, fake = features(n_real, dim, 0), features(n_fake, dim, 1, shift=0.3)
    from_features = frechet_distance(real=real, fake=fake)
    for one in (real, moments_of(real)):
        for other in (fake, moments_of(fake)):
            assert frechet_distance(real=one, fake=other) == pytest.approx(from_features, rel=1e-8)
    if min(n_real, n_fake) > dim:  # a square root wants full rank
        assert from_features == pytest.approx(defined_distance(real, fake), rel=1e-8)


def test_a_distance_from_moments_is_that_of_singular_values():
    """The definition by singular values squares nothing, so it is the more exact: few reals, more fakes than d."""
    real, fake = features(60, 100, 0), features(1500, 100, 1, shift=0.3)
    factors = [(part.double() - part.double().mean(dim=0)) / (len(part) - 1) ** 0.5 for part in (real, fake)]
    root = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    mean = (real.double().mean(dim=0) - fake.double().mean(dim=0)).square().sum()
    expected = mean + sum(factor.square().sum() for factor in factors) - 2 * root
    assert frechet_distance(real=real, fake=moments_of(fake)) == pytest.approx(float(expected), rel=1e-8)


class Identity(torch.nn.Module):
    num_features = 30

    def forward(self, given):
        return given


def test_a_distance_from_streamed_moments_is_torchmetrics():
    metric, stream = FrechetInceptionDistance(feature=Identity()), MomentStream()
    metric.set_dtype(torch.float64)
    real = features(20, 30, 0).double()
    metric.update(real, real=True)
    for seed in range(1, 30):
        fake = features(100, 30, seed, shift=0.2).double()
        metric.update(fake, real=False)
        stream.add(fake)
    assert frechet_distance(real=real, fake=stream.moments()) == pytest.approx(float(metric.compute()), rel=1e-7)


def test_features_that_are_always_zero_count_for_nothing():
    """Dead units of a ReLU: half the eigenvalues are zero, and their rounding errors must not enter as roots."""
    real, fake = features(300, 40, 0), features(300, 40, 1, shift=0.1)
    dead = [torch.cat([part, torch.zeros(300, 200)], dim=1) for part in (real, fake)]
    expected = frechet_distance(real=real, fake=fake)
    assert frechet_distance(real=dead[0], fake=dead[1]) == pytest.approx(expected, rel=1e-8)
    moments = [moments_of(part) for part in dead]
    assert frechet_distance(real=moments[0], fake=moments[1]) == pytest.approx(expected, rel=1e-8)


def test_the_frechet_distance_refuses_bad_input():
    rows = features(10, 4, 0)
    with pytest.raises(ValueError, match="real must be moments of at least 2 features; got moments of 1"):
        frechet_distance(real=moments_of(rows[:1]), fake=rows)
    with pytest.raises(ValueError, match="the same number of dimensions; got 4 and 3"):
        frechet_distance(real=rows, fake=rows[:, :3])
