"""Awareness without sampling.

For ``z ~ N(0, I)`` offset β and gain γ of a channel are bivariate normal given the class, so that every
statistic of the ratio β/γ that exists is an integral over a Gaussian of one dimension or a known function.
"""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import dawsn, ndtr, owens_t
from torch import Tensor

from cawa_core.awareness.result import NORMAL_QUARTILE, Awareness, robust_variance
from cawa_core.generators.base import AffineMap, Modulation

Array = NDArray[np.float64]

QUADRATURE_NODES = 48
SERIES_BELOW = 1e-4
"""Below this (s/g0)² the asymptotic series of the Dawson function is used: it has no cancellation."""
SIGN_FIXED_ABOVE = 8.0
"""Above this |g0|/s the gain keeps its sign up to 6e-16 and the quartiles have a closed form (Fieller 1954)."""
BISECTIONS = 60


@dataclasses.dataclass(frozen=True)
class JointNormal:
    """Means and (co)variances of gain γ and offset β over z; float64 ``[n_classes, C]`` each."""

    gain_mean: Array
    offset_mean: Array
    gain_variance: Array
    offset_variance: Array
    covariance: Array

    @property
    def slope(self) -> Array:
        """Regression of β on γ, ``ρ = Cov(β, γ) / Var γ``; 0 where the gain does not vary."""
        return _ratio(self.covariance, self.gain_variance)

    @property
    def residual_variance(self) -> Array:
        """Variance of β given γ."""
        return np.maximum(self.offset_variance - self.slope * self.covariance, 0)


def closed_form_awareness(modulation: Modulation, embeddings: Tensor) -> Awareness:
    """Awareness of every channel of a site for several classes, exactly.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.

    Returns:
        Arrays ``[n_classes, C]``. ``latent_awareness`` is NaN: the variance of a ratio of normals is
        infinite; its robust form is finite. NaN also where gain and its variance are both zero.
    """
    joint = joint_normal(modulation, embeddings)
    probability, activation = expected_activation(joint)
    missing = np.full_like(joint.gain_mean, np.nan)
    return Awareness(
        category_awareness=mean_ratio(joint),
        category_awareness_stderr=missing,
        latent_awareness=missing,
        latent_awareness_robust=robust_variance(*ratio_quartiles(joint)),
        gain_sign_probability=negative_gain_probability(joint),
        activation_probability=probability,
        expected_activation=activation,
    )


def joint_normal(modulation: Modulation, embeddings: Tensor) -> JointNormal:
    """Moments of (γ, β) over ``z ~ N(0, I)`` for class embeddings ``[n_classes, embed_dim]``."""
    gain, offset = modulation.gain.double(), modulation.offset.double()
    gain_mean, offset_mean = _class_part(gain, embeddings), _class_part(offset, embeddings)

    def spread(one: Tensor, other: Tensor) -> Array:
        return np.broadcast_to((one * other).sum(dim=1).cpu().numpy(), gain_mean.shape)

    return JointNormal(
        gain_mean,
        offset_mean,
        spread(gain.from_latent, gain.from_latent),
        spread(offset.from_latent, offset.from_latent),
        spread(gain.from_latent, offset.from_latent),
    )


def mean_ratio(joint: JointNormal) -> Array:
    """``A = E[β/γ] = ρ + (b0 - ρ·g0)·E[1/γ]`` as a principal value (ours)."""
    inverse = mean_inverse_gain(joint.gain_mean, joint.gain_variance)
    direct = joint.slope + (joint.offset_mean - joint.slope * joint.gain_mean) * inverse
    q = _ratio(joint.gain_variance, joint.gain_mean**2, undefined=np.inf)
    small = np.minimum(q, SERIES_BELOW)
    series = joint.offset_mean * inverse - _ratio(joint.covariance, joint.gain_mean**2) * (1 + small * (3 + 15 * small))
    return np.where(q < SERIES_BELOW, series, direct)


def mean_inverse_gain(mean: Array, variance: Array) -> Array:
    """Principal value of ``E[1/γ]``, ``γ ~ N(g0, s²)``: ``(√2/s)·D(g0/(√2 s))``; ``1/g0`` in the limit s → 0."""
    deviation = np.sqrt(variance)
    q = _ratio(variance, mean**2, undefined=np.inf)
    small = np.minimum(q, SERIES_BELOW)
    series = _ratio(1 + small * (1 + small * (3 + 15 * small)), mean, undefined=np.nan)
    exact = _ratio(math.sqrt(2) * dawsn(_ratio(mean, math.sqrt(2) * deviation)), deviation, undefined=np.nan)
    return np.where(q < SERIES_BELOW, series, exact)


def negative_gain_probability(joint: JointNormal) -> Array:
    """``P(γ <= 0) = Φ(-g0/s)``."""
    certain = (joint.gain_mean <= 0).astype(np.float64)
    ratio = _ratio(-joint.gain_mean, np.sqrt(joint.gain_variance), undefined=np.nan)
    return np.where(joint.gain_variance > 0, ndtr(ratio), certain)


def expected_activation(joint: JointNormal) -> tuple[Array, Array]:
    """``P(y > 0)`` and ``E[ReLU(y)]`` of ``y = γx + β`` over ``x ~ N(0, 1)`` and z: ``[n_classes, C]`` each.

    Given γ, y is normal with mean ``b0 + ρ(γ - g0)`` and variance ``γ² + Var(β|γ)``; what is left is a
    Gauss-Hermite quadrature over γ alone.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
    deviation, slope, residual = np.sqrt(joint.gain_variance), joint.slope, joint.residual_variance
    probability, activation = np.zeros_like(joint.gain_mean), np.zeros_like(joint.gain_mean)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        mean = joint.offset_mean + slope * deviation * node
        spread = np.sqrt((joint.gain_mean + deviation * node) ** 2 + residual)
        threshold = _ratio(mean, spread, undefined=np.where(mean > 0, np.inf, -np.inf))
        inside = ndtr(threshold)
        probability += weight * inside
        activation += weight * (np.where(mean == 0, 0, mean * inside) + spread * _normal_density(threshold))
    return probability, activation


def ratio_quartiles(joint: JointNormal) -> tuple[Array, Array]:
    """Lower and upper quartile of ``β/γ``."""
    fixed_sign = joint.gain_mean**2 > SIGN_FIXED_ABOVE**2 * joint.gain_variance
    lower, upper = _fieller_quartiles(joint)
    crossing = ~fixed_sign & (joint.gain_variance > 0)
    lower, upper = np.where(fixed_sign, lower, np.nan), np.where(fixed_sign, upper, np.nan)
    if crossing.any():
        part = JointNormal(*(getattr(joint, field.name)[crossing] for field in dataclasses.fields(joint)))
        lower[crossing], upper[crossing] = _bisected_quantile(part, 0.25), _bisected_quantile(part, 0.75)
    return lower, upper


def ratio_distribution(joint: JointNormal, t: Array) -> Array:
    """``P(β/γ <= t)`` by Owen's T function (Hinkley 1969, eq. 1, in Owen's form); needs ``Var γ > 0``."""
    deviation = np.sqrt(joint.gain_variance)
    spread = np.sqrt(np.maximum(joint.offset_variance - 2 * t * joint.covariance + t**2 * joint.gain_variance, 0))
    spread = np.maximum(spread, 1e-300)
    a = (t * joint.gain_mean - joint.offset_mean) / spread
    b = -joint.gain_mean / deviation
    correlation = np.clip((joint.covariance - t * joint.gain_variance) / (spread * deviation), -1, 1)
    rest = np.sqrt(np.maximum(1 - correlation**2, 1e-30))
    a, b = np.where(a == 0, 1e-300, a), np.where(b == 0, -1e-300, b)
    value = 2 * owens_t(a, (b / a - correlation) / rest) + 2 * owens_t(b, (a / b - correlation) / rest)
    return np.asarray(value + (a * b < 0), dtype=np.float64)


def _fieller_quartiles(joint: JointNormal) -> tuple[Array, Array]:
    """Roots t of ``(t·g0 - b0)² = q² Var(β - tγ)``; exact where the gain keeps its sign."""
    q2 = NORMAL_QUARTILE**2
    square = joint.gain_mean**2 - q2 * joint.gain_variance
    centre = _ratio(joint.offset_mean * joint.gain_mean - q2 * joint.covariance, square, undefined=np.nan)
    product = _ratio(joint.offset_mean**2 - q2 * joint.offset_variance, square, undefined=np.nan)
    half_width = np.sqrt(np.maximum(centre**2 - product, 0))
    return centre - half_width, centre + half_width


def _bisected_quantile(joint: JointNormal, level: float) -> Array:
    """Solve ``P(β/γ <= t) = level`` on ``t = scale · tan θ``, which covers the whole line."""
    scale = np.sqrt((joint.offset_mean**2 + joint.offset_variance) / (joint.gain_mean**2 + joint.gain_variance))
    scale = np.maximum(scale, 1e-300)
    low, high = np.full_like(scale, -math.pi / 2), np.full_like(scale, math.pi / 2)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = ratio_distribution(joint, scale * np.tan(middle)) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return scale * np.tan((low + high) / 2)


def _class_part(affine: AffineMap, embeddings: Tensor) -> Array:
    return affine.class_part(embeddings.double()).cpu().numpy()


def _normal_density(x: Array) -> Array:
    return np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)


def _ratio(numerator: Array, denominator: Array, undefined: float | Array = 0.0) -> Array:
    """Quotient with a given value where the denominator is zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        quotient = np.asarray(numerator) / np.asarray(denominator)
    return np.where(np.asarray(denominator) == 0, undefined, quotient)
