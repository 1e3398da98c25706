"""Channels that a dimension drives, in closed form: derivatives of awareness and expected activation (ours).

Gain γ and offset β of a channel are affine in the latent code z and the class embedding e. For ``z ~ N(0, I)``, the
statistics ``A = E[β/γ]`` and ``E[ReLU(γx + β)]`` of a class depend on dimension j through the means of γ and β alone,
so that the mean derivative over z is, by Stein's lemma,

    dA/dz_j = ∂A/∂b0 · B_j + ∂A/∂g0 · G_j

with B_j and G_j the weights of the dimension in β and γ. The same holds for a dimension of e. Partial derivatives are
central differences of the closed forms.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.awareness.activation import expected_activation
from cawa_core.awareness.closed_form import mean_ratio
from cawa_core.awareness.joint_normal import JointNormal, joint_normal
from cawa_core.generators.base import Modulation
from cawa_core.latents.dimensions import EMBEDDING, LATENT, DimensionUnits

Array = NDArray[np.float64]

STEP = 1e-3
"""Step of the central differences."""


@dataclasses.dataclass(frozen=True)
class Drives:
    """Mean derivatives of the channels of a site per standard deviation of each dimension, for one class.

    Attributes:
        awareness: of the category awareness ``E[β/γ]``, by space ``[C, dimensions]``.
        activation: of the expected activation, by space ``[C, dimensions]``.
    """

    awareness: dict[str, Array]
    activation: dict[str, Array]


def drives(modulation: Modulation, embedding: Tensor, units: DimensionUnits) -> Drives:
    """Compute what every dimension drives at a site, without a sample.

    Args:
        modulation: gain and offset of the site as affine maps of (z, e).
        embedding: embedding of the class ``[1, embed_dim]``.
        units: standard deviations of the dimensions.
    """
    joint = joint_normal(modulation.with_latent_scaled(units.latent_deviation), embedding).ravel()
    weights = {
        LATENT: [
            part.from_latent.double().cpu().numpy() * units.latent_deviation
            for part in (modulation.gain, modulation.offset)
        ],
        EMBEDDING: [
            (part.from_class * units.embedding_deviation).double().cpu().numpy()
            for part in (modulation.gain, modulation.offset)
        ],
    }

    def derivatives(statistic: Callable[[JointNormal], Array]) -> dict[str, Array]:
        by_gain = _partial(statistic, joint, "gain_mean")[:, None]
        by_offset = _partial(statistic, joint, "offset_mean")[:, None]
        return {space: by_gain * gain + by_offset * offset for space, (gain, offset) in weights.items()}

    return Drives(derivatives(mean_ratio), derivatives(lambda moments: expected_activation(moments)[1]))


def _partial(statistic: Callable[[JointNormal], Array], joint: JointNormal, mean: str) -> Array:
    """Return the derivative of a statistic by the mean of gain or offset, ``[C]``."""
    centre = getattr(joint, mean)
    ends = [statistic(dataclasses.replace(joint, **{mean: centre + step})) for step in (STEP, -STEP)]
    return np.asarray((ends[0] - ends[1]) / (2 * STEP))
