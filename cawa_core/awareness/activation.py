"""Expected output of a channel after its ReLU, for a standard normal input.

Given γ, ``y = γx + β`` is normal with mean ``b0 + ρ(γ - g0)`` and deviation ``σ = √(γ² + r)``; what is left
is an integral over γ alone, by the trapezoidal rule, whose error falls exponentially for analytic functions:

- in γ itself, where its density is small near the branch points ``γ = ±i√r`` of σ                           (1)
- in ``u = arsinh(γ/√r)``, which removes them, ``σ = √r·cosh u``, elsewhere                                   (2)

Both take as many nodes as the narrowest feature asks for: the density of γ, the rise of Φ(mean/σ), or the
distance of the branch points. By trial over all parameters this keeps the error below 2e-8, in the
probability and, in units of the deviation of y, in the expectation.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from cawa_core.awareness.joint_normal import Array, JointNormal

REACH = 6.0
"""Standard deviations of γ to either side of its mean; 2e-9 lies beyond."""
NEGLIGIBLE = 18.5
"""Natural logarithm of the precision, 1e-8: what lies under ``exp(-18.5)`` needs no nodes."""
WELL_INSIDE = 2.0
"""Φ(t) rises at ``|t| < 2`` for the most part, where ``|dt/dγ| <= (|ρ| + |t|) / σ``."""
STEADY_ABOVE = 1e3
"""Above this |g0|/s rule 2 would lose digits, and rule 1 is good."""
SMALLEST_RESIDUAL = 1e-8
"""√r/s is raised to this in rule 2: what changes has a probability of that order."""
FEW = 32
"""Up to this count rule 1 is not even compared with rule 2."""
COST = 2.0
"""Time of a node in rule 2 over that in rule 1."""
COUNTS = (16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16_384)
"""Node counts: few, so that channels with the same count are many."""
WAY = (0.0, 0.5, 0.8, 1.0)
"""Where between g0 and 0 the width of the features is looked at."""
HALF = math.sqrt(0.5)
CHUNK = 131_072
"""Nodes times channels worked on at once, so that they stay in the cache."""
TINY = 1e-140
"""Stands for a deviation of zero: its square is not zero yet."""


def expected_activation(joint: JointNormal) -> tuple[Array, Array]:
    """``P(y > 0)`` and ``E[ReLU(y)]`` of ``y = γx + β`` over ``x ~ N(0, 1)`` and z; arrays ``[n]``."""
    moments = _moments(joint)
    needed = _nodes_in_gain(moments)
    hard = (needed > FEW).nonzero().squeeze(1)
    alternative = _nodes_in_arsinh(moments.index_select(1, hard))
    second = torch.zeros(needed.shape, dtype=torch.bool)
    second[hard] = needed[hard] > COST * alternative
    needed[hard] = torch.where(second[hard], alternative, needed[hard])
    kind = torch.bucketize(needed, torch.tensor(COUNTS[:-1]).double()) + len(COUNTS) * second
    order = torch.from_numpy(np.argsort(kind.numpy().astype(np.uint8), kind="stable"))
    result = torch.empty(2, len(needed), dtype=torch.float64)
    for which, index in enumerate(order.split(torch.bincount(kind).tolist())):
        rule, count = (_in_gain, _in_arsinh)[which // len(COUNTS)], COUNTS[which % len(COUNTS)]
        for part in index.split(max(1, CHUNK // count)) if len(index) else ():
            result.index_copy_(1, part, rule(moments.index_select(1, part), count))
    return result[0].numpy(), result[1].numpy()


def _moments(joint: JointNormal) -> Tensor:
    """|g0|, s, b0, ρ and √r, ``[5, n]``; a gain and its negative act alike on x and need -ρ."""
    gain, deviation = np.abs(joint.gain_mean), np.sqrt(joint.gain_variance)
    slope = np.copysign(1, joint.gain_mean) * joint.slope
    columns = (gain, deviation, joint.offset_mean, slope, np.sqrt(joint.residual_variance))
    return torch.from_numpy(np.stack(columns))


def _nodes_in_gain(moments: Tensor) -> Tensor:
    """Count for rule 1: each feature on the way from g0 to 0, and the branch points, weighed by γ's density."""
    gain, deviation, _, slope, residual = moments
    steadiness = gain / deviation.clamp(min=TINY)
    rise = ((slope.abs() + WELL_INSIDE) * deviation).square()
    branch = (NEGLIGIBLE - steadiness.square() / 2).clamp(min=0) / (2 * math.pi) * deviation / residual.clamp(min=TINY)
    narrowest: Tensor = branch.square()
    way, conditional = steadiness.clamp(max=REACH), residual.square().clamp(min=TINY**2)
    for part in WAY:
        variance = (gain - part * (way * deviation)).square_().add_(conditional)
        weight = 1 - (part * way).square_() / (2 * NEGLIGIBLE)
        narrowest = torch.maximum(narrowest, (rise / variance).add_(1).mul_(weight))
    return narrowest.sqrt_().mul_(2 * REACH)


def _nodes_in_arsinh(moments: Tensor) -> Tensor:
    """Count for rule 2: the sum of the widths' inverse squares; infinite where the rule is not to be used."""
    gain, deviation, _, slope, _ = moments
    low, high, residual = _arsinh_range(moments)
    narrowness = (gain.square() + residual.square()) / deviation.clamp(min=TINY).square() + slope.square()
    needed = (high - low) * (narrowness + 36).sqrt()
    return torch.where(gain < STEADY_ABOVE * deviation, needed, math.inf)


def _arsinh_range(moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ends of the range of u, and √r."""
    gain, deviation, _, _, residual = moments
    residual = torch.maximum(residual, SMALLEST_RESIDUAL * deviation).clamp(min=TINY)
    low, high = (torch.asinh((gain + side * deviation) / residual) for side in (-REACH, REACH))
    return low, high, residual


def _in_gain(moments: Tensor, count: int) -> Tensor:
    """Rule 1: probability and expectation ``[2, n]``."""
    gain, deviation, offset, slope, residual = moments
    column, weights, density_weights = _gaussian_rule(count)
    step = slope * deviation
    spread = (column * deviation).add_(gain).square_().add_(residual.square().add_(TINY**2)).sqrt_()
    # Less a trace, as a channel that is constantly zero is not above zero.
    t = (column * step).add_(offset - 1e10 * TINY).div_(spread).mul_(HALF)  # t/√2, [count, n]
    inside, tilt = weights @ torch.erf(t)
    probability = inside.add_(0.5)
    density: Tensor = density_weights @ t.square_().neg_().exp_().mul_(spread)
    return torch.stack([probability, density.addcmul_(offset, probability).addcmul_(step, tilt)])


@functools.cache
def _gaussian_rule(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes x ``[count, 1]``; weights of ``erf/2`` and ``x·erf/2`` ``[2, count]``; of ``√2π·φ`` ``[count]``."""
    nodes = REACH * (torch.arange(count).double() * 2 + 1 - count) / count
    weights = torch.exp(-nodes.square() / 2)
    weights /= weights.sum()
    return nodes[:, None], torch.stack([weights, weights * nodes]) / 2, weights / math.sqrt(2 * math.pi)


def _in_arsinh(moments: Tensor, count: int) -> Tensor:
    """Rule 2: probability and expectation ``[2, n]``."""
    gain, deviation, offset, slope, _ = moments
    low, high, residual = _arsinh_range(moments)
    step = (high - low) / count
    rising = ((torch.arange(count).double()[:, None] + 0.5) * step).add_(low).exp_().mul_(residual / 2)
    falling = (residual / 2).square() / rising
    spread, node = rising + falling, rising.sub_(falling)  # [count, n]
    weight = (node - gain).div_(deviation).square_().mul_(-0.5).exp_().mul_(spread)
    mean = node.mul_(slope).add_(offset - slope * gain)
    t = (mean / spread).mul_(HALF)
    inside = torch.erf(t).add_(1).mul_(0.5)
    rectified = mean.mul_(inside).addcmul_(spread, t.square_().neg_().exp_(), value=1 / math.sqrt(2 * math.pi))
    scale = step / (deviation * math.sqrt(2 * math.pi))
    return torch.stack([inside.mul_(weight).sum(0), rectified.mul_(weight).sum(0)]).mul_(scale)
