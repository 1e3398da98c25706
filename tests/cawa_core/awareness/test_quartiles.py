"""The fast quartiles against bisection over every kind of channel, against 20 digits, and at the limits."""

import mpmath
import numpy as np
import pytest

from cawa_core.awareness.joint_normal import JointNormal
from cawa_core.awareness.quartiles import interquartile_range
from tests.cawa_core.awareness.oracles import bisected_quantile, grid, ratio_distribution


def one(*moments):
    return JointNormal(*(np.array([value], dtype=np.float64) for value in moments))


def test_the_distance_of_the_quartiles_equals_bisection():
    """1e-7, as the table holds float32; Owen's T is no oracle where both means are zero."""
    joint = grid()
    lower, upper = bisected_quantile(joint, 0.25), bisected_quantile(joint, 0.75)
    known = [np.abs(ratio_distribution(joint, t) - level) < 1e-9 for t, level in ((lower, 0.25), (upper, 0.75))]
    known = known[0] & known[1]
    assert known.mean() > 0.99
    np.testing.assert_allclose(interquartile_range(joint)[known], (upper - lower)[known], rtol=1e-7)


def exact_distribution(t, g0, b0, s2, v, c):
    """``∫ φ(x) P(β/γ <= t | γ = g0 + sx) dx`` with 20 digits."""
    s = mpmath.sqrt(s2)
    rho, rest = c / s2, mpmath.sqrt(v - c * c / s2)

    def inside(x):
        gain = g0 + s * x
        below = mpmath.ncdf((t * gain - b0 - rho * s * x) / rest)
        return mpmath.npdf(x) * (below if gain > 0 else 1 - below)

    zero = -g0 / s
    return mpmath.quad(inside, sorted([-12, -4, 0, 4, 12, zero]))


@pytest.mark.parametrize("g0, b0, c", [(-2.4, 0.7, 0.1), (0.3, -2.0, -0.8)])
def test_the_quartiles_in_twenty_digits(g0, b0, c):
    with mpmath.workdps(20):
        moments = [mpmath.mpf(value) for value in (g0, b0, 1.0, 1.3, c)]
        start = [float(bisected_quantile(one(g0, b0, 1.0, 1.3, c), level)[0]) for level in (0.25, 0.75)]
        lower, upper = (
            mpmath.findroot(lambda t, level=level: exact_distribution(t, *moments) - level, (x, x + 1e-6), tol=1e-14)
            for level, x in zip((0.25, 0.75), start, strict=True)
        )
    assert interquartile_range(one(g0, b0, 1.0, 1.3, c))[0] == pytest.approx(float(upper - lower), rel=1e-10)


def test_two_centred_normals_make_a_cauchy_distribution():
    """Quartiles of a Cauchy distribution lie one scale, √r/s, from its centre."""
    assert interquartile_range(one(0, 0, 0.25, 1.0, 0.3))[0] == pytest.approx(2 * np.sqrt(1 - 0.36) / 0.5, rel=1e-10)


def test_a_constant_offset_over_a_gain():
    """β = 1: the quartiles of 1/γ are 1 over those of γ."""
    q = 0.6744897501960817
    expected = 1 / (2 - 0.3 * q) - 1 / (2 + 0.3 * q)
    assert interquartile_range(one(2, 1, 0.09, 0, 0))[0] == pytest.approx(expected, rel=1e-9)


def test_limits():
    q = 0.6744897501960817
    assert interquartile_range(one(-2, 1, 0, 0.09, 0))[0] == pytest.approx(2 * q * 0.3 / 2, rel=1e-14)
    assert interquartile_range(one(2, 1, 0, 0, 0))[0] == 0
    assert np.isnan(interquartile_range(one(0, 1, 0, 1, 0))[0])
    assert np.isnan(interquartile_range(one(0, 0, 0, 0, 0))[0])


def test_where_a_correction_takes_the_place_of_the_iteration():
    """R from 2 to 7 in small steps, either side of every switch; 1e-8, as one correction's relative error is 1e-3."""
    radius, turn, correlation = np.meshgrid(np.linspace(2, 7, 41), [0.02, 0.3, 0.8, 1.2, 1.5], [-0.9, 0, 0.5])
    radius, turn, correlation = radius.ravel(), turn.ravel(), correlation.ravel()
    gain, rest = radius * np.cos(turn), np.sqrt(1 - correlation**2)
    offset = correlation * gain + rest * radius * np.sin(turn)
    joint = JointNormal(gain, offset, np.ones_like(gain), np.ones_like(gain), correlation)
    lower, upper = bisected_quantile(joint, 0.25), bisected_quantile(joint, 0.75)
    np.testing.assert_allclose(interquartile_range(joint), upper - lower, rtol=1e-8)
