"""Distance between the quartiles of the ratio of two normal variables.

Divide γ by s, and β - ργ by √r: the ratio becomes the direction in which a standard normal point around
``(h, p) = (g0 / s, (b0 - ρ·g0) / √r)`` is seen from the origin, up to half a turn (Marsaglia 1965). Turned by
the direction of (h, p) itself, the density of that angle α depends on the distance ``R = |(h, p)|`` alone:

    f(α) = φ(a) · [μ·erf(μ/√2) + 2φ(μ)],   a = R sin α,  μ = R cos α                                        (1)

and its integral from 0 to α is ``W(α) = 1/2 - 2T(a, μ/a)`` with the T function of Owen (1956)                 (2)

The axis at which the ratio jumps from ∞ to -∞ cuts off ``ε = 2T(h, p/h) <= P(γ < 0)``, so that the quartiles
lie at ``W(α) = ±1/4 - ε``. Without ε, and with ``W(α) = Φ(a) - 1/2``, this is Fieller's formula (1954).     (3)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cawa_core.awareness.joint_normal import Array, JointNormal

SMALLEST_STEADINESS = 1e-9
"""g0/s is raised to this: the distance is an even function of it, so that the error is of the order of 1e-18."""
NORMAL_ABOVE = 6.5
"""From this R on W is ``Φ(a) - 1/2`` up to ``exp(-R²/2) / (πR)``, 3e-11: a quartile may lie where f is small."""
FAR = 1e10
"""Bound of h, p and R in place of infinity; everything is constant long before."""
CONVERGED = 1e-4
"""A last step this small (in units of a standard deviation) leaves its cube, as the iteration is of third order."""
MAX_STEPS = 50
NO_CUT = 1e-10
"""Below this ε the quartiles lie evenly about the middle, up to a part in 10⁹ of their distance."""
_nodes, _weights = np.polynomial.legendre.leggauss(16)
NODES, WEIGHTS = (_nodes[8:] ** 2).tolist(), (_weights[8:] / math.pi).tolist()
"""Half of the 16-point rule, for even functions: squares of the nodes, weights over π."""


def interquartile_range(joint: JointNormal) -> Array:
    """Upper less lower quartile of ``β/γ``; NaN where gain and its variance are both zero. Arrays ``[n]``."""
    deviation, residual = np.sqrt(joint.gain_variance), np.sqrt(joint.residual_variance)
    gain = np.maximum(np.abs(joint.gain_mean), SMALLEST_STEADINESS * deviation)
    excess = deviation * np.abs(joint.offset_mean - joint.slope * joint.gain_mean)  # s|b0 - ρ·g0|
    reach = np.hypot(residual * gain, excess)  # s√r·R
    with np.errstate(all="ignore"):
        sine = np.where(reach > 0, excess / reach, 0)  # p / R
        radius = np.fmin(reach / (deviation * residual), FAR)
        steadiness = np.fmin(gain / deviation, FAR)
    (a, c), (a_low, c_low) = _quartile_points(*(torch.from_numpy(part) for part in (steadiness, sine, radius)))
    with np.errstate(all="ignore"):
        divisor = (gain * c - deviation * sine * a) * (gain * c_low - deviation * sine * a_low)
        return np.asarray(reach * (a * c_low - a_low * c) / divisor)


def _quartile_points(steadiness: Tensor, sine: Tensor, radius: Tensor) -> list[tuple[Array, Array]]:
    """``(R sin α, cos α)`` of the upper and of the lower quartile (eq. 3)."""
    cut_off = _owen(steadiness, radius * sine)
    upper = 0.25 - cut_off
    high = _angle(upper.abs(), radius).copysign_(upper)
    low = -high
    uneven = (cut_off > NO_CUT).nonzero().squeeze(1)
    low[uneven] = _lower_angle(0.25 + cut_off[uneven], radius[uneven])
    return [((radius * angle.sin()).numpy(), angle.cos().numpy()) for angle in (high, low)]


def _lower_angle(target: Tensor, radius: Tensor) -> Tensor:
    """Solve ``W(α) = -target``; beyond a quarter turn by the mirror image, ``W(π - α) = 1 - W(α)``."""
    angle = -_angle(torch.minimum(target, 1 - target), radius)
    return torch.where(target > 0.5, -math.pi - angle, angle)


def _angle(target: Tensor, radius: Tensor) -> Tensor:
    """Solve ``W(α) = target`` for a target in [0, 1/2]: α in [0, π/2].

    W is concave and lies above both ``α/π`` and ``Φ(a) - 1/2``. Their solutions bound α from above; from
    there the first step leads below α, and all further ones upwards to it.
    """
    normal = torch.special.ndtri(0.5 + target)
    angle = torch.minimum(math.pi * target, torch.asin((normal / radius).clamp(max=1)))
    active = (radius < NORMAL_ABOVE).nonzero().squeeze(1)
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        here, part = angle.index_select(0, active), radius.index_select(0, active)
        step = _halley_step(here, target.index_select(0, active), part)
        angle.index_copy_(0, active, (here - step).clamp_(0, math.pi / 2))
        active = active[step.abs() * part.clamp(min=1) > CONVERGED]
    return angle


def _halley_step(angle: Tensor, target: Tensor, radius: Tensor) -> Tensor:
    """``F/f / (1 - F·f' / 2f²)`` for ``F = W - target``, with f of eq. 1 and ``f'/f = -a(μ + erf(μ/√2) / [...])``."""
    a, mu = radius * angle.sin(), radius * angle.cos()
    inside = torch.erf(mu / math.sqrt(2))
    bracket = mu * inside + 2 * _density(mu)
    newton = (0.5 - _owen(a, mu) - target) / (_density(a) * bracket)
    bend = newton * a * (mu + inside / bracket) / 2
    return newton / (1 + bend).clamp(min=0.5)  # at most two Newton steps at once


def _owen(a: Tensor, b: Tensor) -> Tensor:
    """``2T(a, b/a)`` for a, b >= 0, by quadrature over the shorter side.

    ``2T(x, z) = exp(-x²/2) / π · ∫_0^z exp(-x²t²/2) / (1 + t²) dt``, and
    ``2T(a, b/a) + 2T(b, a/b) = (1 - erf(a/√2)·erf(b/√2)) / 2``.
    """
    near, far = torch.minimum(a, b), torch.maximum(a, b)
    slant = near / far
    exponent, square, heights = near.square().mul_(-0.5), slant.square(), torch.zeros_like(near)
    for node, weight in zip(NODES, WEIGHTS, strict=True):  # a node at a time stays in the cache
        heights.addcdiv_((exponent * node).exp_(), (square * node).add_(1), value=weight)
    shorter = heights.mul_(slant).mul_((far.square() * -0.5).exp_())
    both = 0.5 - 0.5 * torch.erf(a / math.sqrt(2)) * torch.erf(b / math.sqrt(2))
    return torch.where(a >= b, shorter, both - shorter)


def _density(x: Tensor) -> Tensor:
    return (-x.square() / 2).exp_() / math.sqrt(2 * math.pi)
