"""Slow and plain: the distribution of a ratio of normals by bisection, a ReLU's output by many nodes."""

import math

import numpy as np
from scipy.special import ndtr, owens_t

from cawa_core.awareness.joint_normal import JointNormal


def ratio_distribution(joint, t):
    """``P(β/γ <= t)`` by Owen's T function (Hinkley 1969, eq. 1, in Owen's form); needs ``Var γ > 0``."""
    deviation = np.sqrt(joint.gain_variance)
    spread = np.sqrt(joint.offset_variance - 2 * t * joint.covariance + t**2 * joint.gain_variance)
    a, b = (t * joint.gain_mean - joint.offset_mean) / spread, -joint.gain_mean / deviation
    correlation = np.clip((joint.covariance - t * joint.gain_variance) / (spread * deviation), -1, 1)
    rest = np.sqrt(np.maximum(1 - correlation**2, 1e-30))
    a, b = np.where(a == 0, 1e-300, a), np.where(b == 0, -1e-300, b)
    value = 2 * owens_t(a, (b / a - correlation) / rest) + 2 * owens_t(b, (a / b - correlation) / rest)
    return value + (a * b < 0)


def bisected_quantile(joint, level):
    """Solve ``P(β/γ <= t) = level`` on ``t = centre + scale · tan θ``, which covers the whole line."""
    scale = np.sqrt((joint.offset_mean**2 + joint.offset_variance) / (joint.gain_mean**2 + joint.gain_variance))
    low, high = np.full_like(scale, -math.pi / 2), np.full_like(scale, math.pi / 2)
    for _ in range(70):
        middle = (low + high) / 2
        below = ratio_distribution(joint, scale * np.tan(middle)) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return scale * np.tan((low + high) / 2)


def activation(joint, nodes=4000):
    """``P(y > 0)`` and ``E[ReLU(y)]`` by nodes that crowd where the gain is zero; needs ``Var γ > 0``."""
    deviation = np.sqrt(joint.gain_variance)
    residual = np.sqrt(joint.residual_variance)
    unit = np.maximum(residual, 1e-9 * deviation)
    low, high = (np.arcsinh((joint.gain_mean + side * deviation) / unit) for side in (-9, 9))
    sums, step = np.zeros((2, *deviation.shape)), (high - low) / nodes
    for node in range(nodes):
        u = low + (node + 0.5) * step
        gain = unit * np.sinh(u)
        weight = np.exp(-(((gain - joint.gain_mean) / deviation) ** 2) / 2) * unit * np.cosh(u) * step
        mean = joint.offset_mean + joint.slope * (gain - joint.gain_mean)
        spread = np.hypot(gain, residual)
        t = mean / spread
        density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
        sums += weight / (deviation * math.sqrt(2 * math.pi)) * (ndtr(t), mean * ndtr(t) + spread * density)
    return sums


def grid():
    """Channels of every kind: g0/s from 0 to 50, both signs; correlations to ±0.999; offsets from 0 to far."""
    steadiness = np.array([0, 0.1, 0.4, 0.6744898, 0.9, 1.3, 1.8, 2.4, 2.8, 3.4, 4.2, 5.4, 6.4, 7.9, 8.1, 12, 20, 50])
    correlation = np.array([-0.999, -0.9, -0.5, 0, 0.09, 0.7, 0.99, 0.999])
    axes = (np.concatenate([-steadiness[1:], steadiness]), correlation, [0.03, 0.3, 1, 4], [-3, -0.5, 0, 0.2, 1, 8])
    g0, r, offset_deviation, offset = (axis.ravel() for axis in np.meshgrid(*axes))
    scale = 0.4
    return JointNormal(
        scale * g0,
        scale * offset * offset_deviation,
        np.full_like(g0, scale**2),
        (scale * offset_deviation) ** 2,
        scale**2 * r * offset_deviation,
    )
