"""Awareness without sampling.

For ``z ~ N(0, I)``, offset β and gain γ of a channel are bivariate normal given the class. Every statistic of the
ratio β/γ that exists is therefore a known function or a one-dimensional Gaussian integral.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import dawsn
from torch import Tensor

from cawa_core.awareness.activation import expected_activation
from cawa_core.awareness.joint_normal import Array, JointNormal, joint_normal
from cawa_core.awareness.quartiles import interquartile_range
from cawa_core.awareness.result import Awareness, robust_variance
from cawa_core.generators.base import Modulation
from cawa_core.numerics.parallel import map_in_threads

SERIES_BELOW = 1e-4
"""Value of (s/g0)² below which the asymptotic series of the Dawson function is used; it has no cancellation."""
BLOCK = 65_536
"""Channels that a thread processes at once: enough to amortise each call, few enough for the cache."""


def closed_form_awareness(modulation: Modulation, embeddings: Tensor, *, diagnostics: bool = True) -> Awareness:
    """Compute the exact awareness of every channel of a site for several classes.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.
        diagnostics: whether to compute the statistics that Appendix A does not define. If False, all columns except
            category awareness and robust latent awareness are NaN.

    Returns:
        Arrays ``[n_classes, C]``. ``latent_awareness`` is NaN, because the variance of a ratio of normals is
        infinite; its robust form is finite. Values are also NaN where a gain and its variance are both zero.
    """
    joint = joint_normal(modulation, embeddings)
    n_classes, channels = joint.gain_mean.shape
    rows = max(1, min(BLOCK // channels, -(-n_classes // torch.get_num_threads())))
    blocks = [joint[start : start + rows].ravel() for start in range(0, n_classes, rows)]
    parts = map_in_threads(functools.partial(_columns, diagnostics=diagnostics), blocks)
    columns = {name: np.concatenate([part[name] for part in parts]).reshape(n_classes, channels) for name in parts[0]}
    missing = np.full_like(joint.gain_mean, np.nan)
    return Awareness(**{field.name: columns.get(field.name, missing) for field in dataclasses.fields(Awareness)})


def _columns(joint: JointNormal, *, diagnostics: bool) -> dict[str, Array]:
    """Return the awareness columns of a block of channels, ``[n]`` each."""
    distance = interquartile_range(joint)
    columns = {
        "category_awareness": mean_ratio(joint),
        "latent_awareness_robust": robust_variance(-distance / 2, distance / 2),
    }
    if diagnostics:
        columns["gain_sign_probability"] = negative_gain_probability(joint)
        columns["activation_probability"], columns["expected_activation"] = expected_activation(joint)
    return columns


def mean_ratio(joint: JointNormal) -> Array:
    """Return ``A = E[β/γ] = ρ + (b0 - ρ·g0)·E[1/γ]`` as a principal value (derived here, not in the paper)."""
    inverse = mean_inverse_gain(joint.gain_mean, joint.gain_variance)
    mean = joint.slope + (joint.offset_mean - joint.slope * joint.gain_mean) * inverse
    steady = _steady(joint.gain_mean, joint.gain_variance)
    if steady.any():
        part = joint[steady]
        gain_square = part.gain_mean**2
        q = part.gain_variance / gain_square
        mean[steady] = part.offset_mean * inverse[steady] - part.covariance / gain_square * (1 + q * (3 + 15 * q))
    return mean


def mean_inverse_gain(mean: Array, variance: Array) -> Array:
    """Return the principal value of ``E[1/γ]`` for ``γ ~ N(g0, s²)``: ``(√2/s)·D(g0/(√2 s))``, or ``1/g0`` as s → 0."""
    deviation = np.sqrt(variance / 2)  # s/√2
    with np.errstate(all="ignore"):
        inverse: Array = dawsn(mean / (2 * deviation)) / deviation
    steady = _steady(mean, variance)
    if steady.any():
        q = variance[steady] / mean[steady] ** 2
        inverse[steady] = (1 + q * (1 + q * (3 + 15 * q))) / mean[steady]
    return inverse


def _steady(mean: Array, variance: Array) -> NDArray[np.bool_]:
    """Return where the asymptotic series is used."""
    return np.asarray(variance < SERIES_BELOW * mean**2)


def negative_gain_probability(joint: JointNormal) -> Array:
    """Return ``P(γ <= 0) = Φ(-g0/s)``; exactly 0 or 1 where the gain does not vary."""
    with np.errstate(all="ignore"):
        steadiness = torch.from_numpy(joint.gain_mean / np.sqrt(2 * joint.gain_variance))
    probability = torch.erfc(steadiness).div_(2).numpy()
    return np.where(np.isnan(probability), 1.0, probability)
