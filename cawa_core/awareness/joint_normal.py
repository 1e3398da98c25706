"""Gain and offset of a channel as two normal variables: what ``z ~ N(0, I)`` makes of their affine maps."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import AffineMap, Modulation

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class JointNormal:
    """Means and (co)variances of gain γ and offset β over z; float64 arrays of one shape.

    In formulas ``g0 = E γ``, ``b0 = E β``, ``s² = Var γ``, ``ρ = Cov(β, γ) / s²`` and ``r = Var(β | γ)``.
    """

    gain_mean: Array
    offset_mean: Array
    gain_variance: Array
    offset_variance: Array
    covariance: Array

    def __getitem__(self, index: slice | NDArray[np.intp]) -> JointNormal:
        """The same moments for a part of the rows."""
        return JointNormal(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def ravel(self) -> JointNormal:
        """The same moments in one dimension, in memory of their own."""
        return JointNormal(*(getattr(self, field.name).flatten() for field in dataclasses.fields(self)))

    @property
    def slope(self) -> Array:
        """Regression ρ of β on γ; 0 where the gain does not vary."""
        return ratio(self.covariance, self.gain_variance)

    @property
    def residual_variance(self) -> Array:
        """Variance r of β given γ."""
        return np.maximum(self.offset_variance - self.slope * self.covariance, 0)


def joint_normal(modulation: Modulation, embeddings: Tensor) -> JointNormal:
    """Moments of (γ, β) over ``z ~ N(0, I)`` for class embeddings ``[n_classes, embed_dim]``: ``[n_classes, C]``."""
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


def ratio(numerator: Array | float, denominator: Array, undefined: Array | float = 0.0) -> Array:
    """Quotient with a given value where the denominator is zero."""
    with np.errstate(all="ignore"):
        quotient = np.asarray(numerator / denominator)
    return np.where(denominator == 0, undefined, quotient)


def _class_part(affine: AffineMap, embeddings: Tensor) -> Array:
    return affine.class_part(embeddings.double()).cpu().numpy()
