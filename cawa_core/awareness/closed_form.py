"""Awareness without sampling.

For ``z ~ N(0, I)`` offset β and gain γ of a channel are bivariate normal given the class, so that every
statistic of the ratio β/γ that exists is an integral over a Gaussian of one dimension or a known function.
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
from cawa_core.parallel import map_in_threads

SERIES_BELOW = 1e-4
"""Below this (s/g0)² the asymptotic series of the Dawson function is used: it has no cancellation."""
BLOCK = 65_536
"""Channels that a thread works on at once: many to an operation, few enough for the cache."""


def closed_form_awareness(modulation: Modulation, embeddings: Tensor, *, diagnostics: bool = True) -> Awareness:
    """Awareness of every channel of a site for several classes, exactly.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.
        diagnostics: whether to compute what Appendix A does not; without, only category awareness and robust
            latent awareness are not NaN.

    Returns:
        Arrays ``[n_classes, C]``. ``latent_awareness`` is NaN: the variance of a ratio of normals is
        infinite; its robust form is finite. NaN also where gain and its variance are both zero.
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
    """Columns of some channels, ``[n]`` each."""
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
    """``A = E[β/γ] = ρ + (b0 - ρ·g0)·E[1/γ]`` as a principal value (ours)."""
    inverse = mean_inverse_gain(joint.gain_mean, joint.gain_variance)
    mean = joint.slope + (joint.offset_mean - joint.slope * joint.gain_mean) * inverse
    steady = _steady(joint.gain_mean, joint.gain_variance)
    if steady.any():
        some = joint[steady]
        q, gain_square = some.gain_variance / some.gain_mean**2, some.gain_mean**2
        mean[steady] = some.offset_mean * inverse[steady] - some.covariance / gain_square * (1 + q * (3 + 15 * q))
    return mean


def mean_inverse_gain(mean: Array, variance: Array) -> Array:
    """Principal value of ``E[1/γ]``, ``γ ~ N(g0, s²)``: ``(√2/s)·D(g0/(√2 s))``; ``1/g0`` in the limit s → 0."""
    deviation = np.sqrt(variance / 2)  # s/√2
    with np.errstate(all="ignore"):
        inverse: Array = dawsn(mean / (2 * deviation)) / deviation
    steady = _steady(mean, variance)
    if steady.any():
        q = variance[steady] / mean[steady] ** 2
        inverse[steady] = (1 + q * (1 + q * (3 + 15 * q))) / mean[steady]
    return inverse


def _steady(mean: Array, variance: Array) -> NDArray[np.bool_]:
    """Where the asymptotic series is used."""
    return np.asarray(variance < SERIES_BELOW * mean**2)


def negative_gain_probability(joint: JointNormal) -> Array:
    """``P(γ <= 0) = Φ(-g0/s)``; certain or impossible where the gain does not vary."""
    with np.errstate(all="ignore"):
        steadiness = torch.from_numpy(joint.gain_mean / np.sqrt(2 * joint.gain_variance))
    probability = torch.erfc(steadiness).div_(2).numpy()
    return np.where(np.isnan(probability), 1.0, probability)
