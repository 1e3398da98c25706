"""Distance between the quartiles of the ratio of two normal variables.

Divide γ by s, and β - ργ by √r. The ratio becomes the direction, up to half a turn, in which a standard normal
point around ``(h, p) = (g0 / s, (b0 - ρ·g0) / √r)`` is seen from the origin (Marsaglia 1965). Measured from the
direction of (h, p) itself, the density of that angle α depends on the distance ``R = |(h, p)|`` alone:

    f(α) = φ(a) · [μ·erf(μ/√2) + 2φ(μ)],   a = R sin α,  μ = R cos α                                        (1)

Its integral from 0 to α is ``W(α) = 1/2 - 2T(a, μ/a)`` with the T function of Owen (1956).                     (2)

The axis at which the ratio jumps from ∞ to -∞ cuts off ``ε = 2T(h, p/h) <= P(γ < 0)``, so the quartiles lie at
``W(α) = ±1/4 - ε``. Without ε, and with ``W(α) = Φ(a) - 1/2``, this is Fieller's formula (1954).             (3)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cawa_core.awareness.joint_normal import Array, JointNormal
from cawa_core.awareness.result import NORMAL_QUARTILE

SMALLEST_STEADINESS = 1e-9
"""Lower bound on g0/s. The distance is an even function of g0/s, so the error is of the order of 1e-18."""
NORMAL_ABOVE = 6.5
"""Value of R above which W is ``Φ(a) - 1/2`` up to ``exp(-R²/2) / (πR)``, 3e-11; there, f may be small."""
FAR = 1e10
"""Upper bound on h, p and R in place of infinity; every result is constant far below it."""
CONVERGED = 1e-4
"""Size of the last step, in standard deviations; the error left is its cube, as the iteration is of third order."""
MAX_STEPS = 50
NO_CUT = 1e-10
"""Value of ε below which the quartiles are symmetric about the middle, up to a part in 10⁹ of their distance."""
NO_CUT_ABOVE = 6.4
"""Value of g0/s above which ``ε <= Φ(-g0/s)`` is below NO_CUT."""
EXACT_SHIFT = 1e-6
"""Correction of a (eq. 4) up to which its own relative error, at most 1e-3, does not matter."""
MODERATE_SHIFT = 0.3
"""Correction of a up to which applying it improves the starting point of the iteration."""
SMALL_ANGLE = 1e-4
"""Value below which an angle equals its sine."""
SERIES_WITHIN = 3e-3
"""Distance from 1/4, divided by the density there, within which a third-order series is exact to 1e-10."""
QUARTILE_DENSITY = math.exp(-(NORMAL_QUARTILE**2) / 2) / math.sqrt(2 * math.pi)
"""Normal density at the quartile."""
CHUNK = 4096
"""Points processed at once, so that their quadrature nodes stay in the cache."""
_nodes, _weights = np.polynomial.legendre.leggauss(16)
NODES = torch.from_numpy(_nodes[8:] ** 2)[:, None]
"""Squares of the positive nodes of the 16-point rule: half of the rule is enough for even functions."""
WEIGHTS = torch.from_numpy(_weights[8:] / math.pi)
"""Weights of these nodes, divided by π."""


def interquartile_range(joint: JointNormal) -> Array:
    """Return the upper minus the lower quartile of ``β/γ``, ``[n]``; NaN where gain and its variance are both zero."""
    residual = torch.from_numpy(joint.residual_variance).sqrt()
    deviation = torch.from_numpy(joint.gain_variance).sqrt()
    gain = torch.maximum(torch.from_numpy(np.abs(joint.gain_mean)), SMALLEST_STEADINESS * deviation)
    excess = deviation * torch.from_numpy(np.abs(joint.offset_mean - joint.slope * joint.gain_mean))  # s|b0 - ρ·g0|
    reach = torch.hypot(residual * gain, excess)  # s√r·R
    sine = (excess / reach).nan_to_num_(0.0)  # p / R
    radius = (reach / (deviation * residual)).nan_to_num_(FAR).clamp_(max=FAR)
    steadiness = (gain / deviation).nan_to_num_(FAR).clamp_(max=FAR)
    (a, c), (a_low, c_low) = _quartile_points(steadiness, sine, radius)
    sine *= deviation
    divisor = (gain * c - sine * a) * (gain * c_low - sine * a_low)
    return (reach * (a * c_low - a_low * c) / divisor).numpy()


def _quartile_points(steadiness: Tensor, sine: Tensor, radius: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return ``(R sin α, cos α)`` for the upper and for the lower quartile (eq. 3)."""
    cut_off = torch.zeros_like(radius)
    near = (steadiness < NO_CUT_ABOVE).nonzero().squeeze(1)
    far_side = (radius * sine).index_select(0, near)
    cut_off.index_copy_(0, near, _owen(steadiness.index_select(0, near), far_side))
    uneven = (cut_off > NO_CUT).nonzero().squeeze(1)
    # Angles beyond a quarter turn are solved as their mirror image, W(π - α) = 1 - W(α).
    upper = 0.25 - cut_off
    lower = 0.25 + cut_off.index_select(0, uneven)
    target = torch.cat([upper.abs(), torch.minimum(lower, 1 - lower)])
    angles = _angle(target, torch.cat([radius, radius.index_select(0, uneven)]))
    high = angles[: len(radius)].copysign_(upper)
    mirrored = angles[len(radius) :]
    low = (-high).index_copy_(0, uneven, torch.where(lower > 0.5, mirrored - math.pi, -mirrored))
    return [(radius * angle.sin(), angle.cos()) for angle in (high, low)]


def _angle(target: Tensor, radius: Tensor) -> Tensor:
    """Solve ``W(α) = target`` for a target in [0, 1/2]; the solution lies in [0, π/2].

    W is concave and lies above both ``α/π`` and ``Φ(a) - 1/2``, so their solutions bound α from above. If the second
    bound is almost the solution, its first-order correction is exact enough; otherwise the iteration starts there.
    """
    normal = _normal_quantile(target)
    shift = _relative_shift(normal, radius)
    first = torch.where(shift < MODERATE_SHIFT, normal * (1 - shift), normal).div_(radius).clamp_(max=1)
    angle = torch.minimum(math.pi * target, first.asin_())
    active = ((shift > EXACT_SHIFT) & (radius < NORMAL_ABOVE)).nonzero().squeeze(1)
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        active_angle = angle.index_select(0, active)
        active_radius = radius.index_select(0, active)
        step = _halley_step(active_angle, target.index_select(0, active), active_radius)
        angle.index_copy_(0, active, (active_angle - step).clamp_(0, math.pi / 2))
        active = active[step.abs() * active_radius.clamp(min=1) > CONVERGED]
    return angle


def _normal_quantile(target: Tensor) -> Tensor:
    """Return ``Φ⁻¹(1/2 + target)``, by its series for targets near 1/4, as most are."""
    beyond = (target - 0.25) / QUARTILE_DENSITY
    q = NORMAL_QUARTILE
    quantile = (beyond * ((1 + 2 * q**2) / 6)).add_(q / 2).mul_(beyond).add_(1).mul_(beyond).add_(q)
    far = (beyond.abs() > SERIES_WITHIN).nonzero().squeeze(1)
    if len(far):
        quantile[far] = torch.special.ndtri(0.5 + target[far])
    return quantile


def _relative_shift(normal: Tensor, radius: Tensor) -> Tensor:
    """Return ``1 - a/z`` to first order for the normal quantile z; ∞ for z > R.

    The derivative of ``W(α) - Φ(a)`` is ``exp(-R²/2)/π · [1 - μ·M(μ)]`` with the Mills ratio M. It is even in α, so
    its integral from 0 is α times its value at ``α/√3``, up to fourth order. M is a continued fraction.        (4)
    """
    square = radius.square()
    normal_square = normal.square()
    mu_square = (square - normal_square / 3).clamp_(min=0)
    rest = 2 / (mu_square + 5 - 12 / (mu_square + 9 - 30 / (mu_square + 13)))
    slope = (1 - rest) / (mu_square + 1 - rest)
    sine = normal / radius
    arc = torch.where(sine > SMALL_ANGLE, sine.asin() / normal, 1 / radius)
    shift = slope.mul_(arc).mul_(((normal_square - square) / 2).exp_()).mul_(math.sqrt(2 / math.pi))
    return shift.nan_to_num_(math.inf)


def _halley_step(angle: Tensor, target: Tensor, radius: Tensor) -> Tensor:
    """Return ``F/f / (1 - F·f' / 2f²)`` for ``F = W - target``: f is eq. 1, ``f'/f = -a(μ + erf(μ/√2) / [...])``."""
    a = radius * angle.sin()
    mu = radius * angle.cos()
    inside = torch.erf(mu / math.sqrt(2))
    bracket = mu * inside + 2 * _density(mu)
    newton = (0.5 - _owen(a, mu) - target) / (_density(a) * bracket)
    bend = newton * a * (mu + inside / bracket) / 2
    return newton / (1 + bend).clamp(min=0.5)  # at most twice a Newton step


def _owen(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``2T(a, b/a)`` for a, b >= 0 by quadrature over the shorter side.

    ``2T(x, z) = exp(-x²/2) / π · ∫_0^z exp(-x²t²/2) / (1 + t²) dt``, and
    ``2T(a, b/a) + 2T(b, a/b) = (1 - erf(a/√2)·erf(b/√2)) / 2``.
    """
    near = torch.minimum(a, b)
    far = torch.maximum(a, b)
    slant = near / far
    heights = torch.cat([_heights(*part) for part in zip(near.split(CHUNK), slant.split(CHUNK), strict=True)])
    shorter = heights.mul_(slant).mul_((far.square() * -0.5).exp_())
    both = 0.5 - 0.5 * torch.erf(a / math.sqrt(2)) * torch.erf(b / math.sqrt(2))
    return torch.where(a >= b, shorter, both - shorter)


def _heights(near: Tensor, slant: Tensor) -> Tensor:
    """Compute ``∫_0^z exp(-x²t²/2) / (1 + t²) dt / (πz)`` by half of a Gauss-Legendre rule; the integrand is even."""
    exponent = near.square().mul_(-0.5)
    square = slant.square()
    return WEIGHTS @ (NODES * exponent).exp_().div_((NODES * square).add_(1))


def _density(x: Tensor) -> Tensor:
    return (-x.square() / 2).exp_() / math.sqrt(2 * math.pi)
