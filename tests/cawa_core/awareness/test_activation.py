"""The output after the ReLU against many nodes over every kind of channel, and at the limits."""

import numpy as np
import pytest
from scipy.special import ndtr

from cawa_core.awareness.activation import expected_activation
from cawa_core.awareness.joint_normal import JointNormal
from tests.cawa_core.awareness import oracles


def one(*moments):
    return JointNormal(*(np.array([value], dtype=np.float64) for value in moments))


def test_probability_and_expectation_equal_many_nodes():
    """2e-8 is what the node counts are made for; float32 holds 6e-8."""
    joint = oracles.grid()
    probability, activation = expected_activation(joint)
    expected_probability, expected = oracles.activation(joint, nodes=1500)
    deviation = np.sqrt(joint.gain_mean**2 + joint.gain_variance + joint.offset_variance + joint.offset_mean**2)
    assert np.abs(probability - expected_probability).max() < 2e-8
    assert (np.abs(activation - expected) / deviation).max() < 2e-8


def test_a_channel_does_not_depend_on_its_neighbours():
    joint = oracles.grid()
    some = np.arange(0, len(joint.gain_mean), 97)
    for whole, part in zip(expected_activation(joint), expected_activation(joint[some]), strict=True):
        np.testing.assert_allclose(whole[some], part, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("offset_variance", [0.0, 1e-20, 1e-6])
def test_an_offset_without_variance(offset_variance):
    """``P(γx + b > 0) = E Φ(b/|γ|)``, kinked where the gain crosses zero."""
    joint = one(0.8, 0.1, 1.0, offset_variance, 0)
    np.testing.assert_allclose(np.ravel(expected_activation(joint)), oracles.activation(joint, 20_000)[:, 0], atol=2e-8)


@pytest.mark.parametrize("gain_variance", [0.0, 1e-30, 1e-18])
def test_a_gain_without_variance(gain_variance):
    """y is normal: mean b0, variance g0² + Var β."""
    for slope in (0.0, 0.3, 0.999):
        joint = one(-1.5, 0.4, gain_variance, 4.0, slope * 2 * np.sqrt(gain_variance))
        deviation = np.sqrt(1.5**2 + 4)
        t = 0.4 / deviation
        probability, activation = expected_activation(joint)
        assert probability[0] == pytest.approx(ndtr(t), abs=2e-8)
        assert activation[0] == pytest.approx(
            0.4 * ndtr(t) + deviation * np.exp(-t * t / 2) / np.sqrt(2 * np.pi), abs=2e-8
        )


@pytest.mark.parametrize("offset, expected", [(-1.0, (0, 0)), (0.0, (0, 0)), (2.0, (1, 2))])
def test_a_constant_channel(offset, expected):
    assert np.ravel(expected_activation(one(0, offset, 0, 0, 0))) == pytest.approx(expected)


@pytest.mark.parametrize("slope", [10.0, 80.0, 300.0, 1000.0])
def test_an_offset_that_follows_the_gain_steeply(slope):
    """β = ργ + noise rises through zero within s/ρ: the count of nodes grows with ρ."""
    for gain, deviation in ((0.003, 0.003), (1.0, 0.2), (0.5, 0.5)):
        joint = one(gain, 0.1, deviation**2, (slope * deviation) ** 2 + 0.25, slope * deviation**2)
        found, expected = np.ravel(expected_activation(joint)), oracles.activation(joint, 60_000)[:, 0]
        assert abs(found[0] - expected[0]) < 2e-8
        assert abs(found[1] - expected[1]) < 2e-8 * np.sqrt(gain**2 + joint.offset_variance[0])
