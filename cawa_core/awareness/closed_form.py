"""Awareness without sampling.

For ``z ~ N(0, I)`` offset β and gain γ of a channel are bivariate normal given the class, so that every
statistic of the ratio β/γ that exists is an integral over a Gaussian of one dimension or a known function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.special import dawsn
from torch import Tensor

from cawa_core.awareness.activation import expected_activation
from cawa_core.awareness.joint_normal import Array, JointNormal, joint_normal, ratio
from cawa_core.awareness.quartiles import interquartile_range
from cawa_core.awareness.result import Awareness, robust_variance
from cawa_core.generators.base import Modulation

SERIES_BELOW = 1e-4
"""Below this (s/g0)² the asymptotic series of the Dawson function is used: it has no cancellation."""
BLOCK = 65_536
"""Channels that a thread works on at once: many to an operation, few enough for the cache."""


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
    n_classes, channels = joint.gain_mean.shape
    rows = max(1, min(BLOCK // channels, -(-n_classes // torch.get_num_threads())))
    blocks = [joint[start : start + rows].ravel() for start in range(0, n_classes, rows)]
    parts = _on_all_threads(_columns, blocks)
    missing = np.full_like(joint.gain_mean, np.nan)
    columns = {name: np.concatenate([part[name] for part in parts]).reshape(n_classes, channels) for name in parts[0]}
    return Awareness(category_awareness_stderr=missing, latent_awareness=missing, **columns)


def _on_all_threads(
    work: Callable[[JointNormal], dict[str, Array]], blocks: Sequence[JointNormal]
) -> list[dict[str, Array]]:
    """Results of blocks of work, each done in one of as many threads as PyTorch has.

    Threads that each keep to a block in their own cache wait for nobody; those that share an operation do.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return [work(block) for block in blocks]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, blocks))
    finally:
        torch.set_num_threads(threads)


def _columns(joint: JointNormal) -> dict[str, Array]:
    """Columns of some channels, ``[n]`` each."""
    probability, activation = expected_activation(joint)
    distance = interquartile_range(joint)
    return {
        "category_awareness": mean_ratio(joint),
        "latent_awareness_robust": robust_variance(-distance / 2, distance / 2),
        "gain_sign_probability": negative_gain_probability(joint),
        "activation_probability": probability,
        "expected_activation": activation,
    }


def mean_ratio(joint: JointNormal) -> Array:
    """``A = E[β/γ] = ρ + (b0 - ρ·g0)·E[1/γ]`` as a principal value (ours)."""
    inverse = mean_inverse_gain(joint.gain_mean, joint.gain_variance)
    direct = joint.slope + (joint.offset_mean - joint.slope * joint.gain_mean) * inverse
    q = ratio(joint.gain_variance, joint.gain_mean**2, undefined=np.inf)
    small = np.minimum(q, SERIES_BELOW)
    series = joint.offset_mean * inverse - ratio(joint.covariance, joint.gain_mean**2) * (1 + small * (3 + 15 * small))
    return np.where(q < SERIES_BELOW, series, direct)


def mean_inverse_gain(mean: Array, variance: Array) -> Array:
    """Principal value of ``E[1/γ]``, ``γ ~ N(g0, s²)``: ``(√2/s)·D(g0/(√2 s))``; ``1/g0`` in the limit s → 0."""
    deviation = np.sqrt(variance)
    q = ratio(variance, mean**2, undefined=np.inf)
    small = np.minimum(q, SERIES_BELOW)
    series = ratio(1 + small * (1 + small * (3 + 15 * small)), mean, undefined=np.nan)
    exact = ratio(math.sqrt(2) * dawsn(ratio(mean, math.sqrt(2) * deviation)), deviation, undefined=np.nan)
    return np.where(q < SERIES_BELOW, series, exact)


def negative_gain_probability(joint: JointNormal) -> Array:
    """``P(γ <= 0) = Φ(-g0/s)``."""
    certain = (joint.gain_mean <= 0).astype(np.float64)
    steadiness = torch.from_numpy(ratio(-joint.gain_mean, np.sqrt(joint.gain_variance)))
    return np.where(joint.gain_variance > 0, torch.special.ndtr(steadiness).numpy(), certain)
