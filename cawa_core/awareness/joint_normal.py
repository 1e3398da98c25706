"""Joint normal distribution of a channel's gain and offset, which are affine in ``z ~ N(0, I)``."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import Modulation

Array = NDArray[np.float64]
STRIP = 262_144
"""Weights of an affine map converted to float64 at once: few enough that the allocator reuses the same memory."""


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

    def __getitem__(self, index: slice | NDArray[np.intp] | NDArray[np.bool_]) -> JointNormal:
        """Return the moments of the selected rows."""
        return JointNormal(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def ravel(self) -> JointNormal:
        """Return a copy with every array flattened to one dimension."""
        return JointNormal(*(getattr(self, field.name).flatten() for field in dataclasses.fields(self)))

    @functools.cached_property
    def slope(self) -> Array:
        """Regression slope ρ of β on γ; 0 where the gain does not vary."""
        return ratio(self.covariance, self.gain_variance)

    @functools.cached_property
    def residual_variance(self) -> Array:
        """Variance r of β given γ."""
        return np.maximum(self.offset_variance - self.slope * self.covariance, 0)


def joint_normal(modulation: Modulation, embeddings: Tensor) -> JointNormal:
    """Return the moments ``[n_classes, C]`` of (γ, β) over ``z ~ N(0, I)``; embeddings ``[n_classes, embed_dim]``."""
    maps = (modulation.gain, modulation.offset)
    channels = len(modulation.gain.constant)
    codes = embeddings.double()
    columns = modulation.gain.from_class.shape[1] + modulation.gain.from_latent.shape[1]
    means = codes.new_empty(2, len(codes), channels)
    spreads = codes.new_empty(3, channels)  # Var γ, Var β, Cov(γ, β)
    height = max(1, STRIP // columns)
    for start in range(0, channels, height):
        rows = slice(start, start + height)
        for affine, mean in zip(maps, means, strict=True):
            torch.addmm(affine.constant[rows].double(), codes, affine.from_class[rows].double().T, out=mean[:, rows])
        gain, offset = (affine.from_latent[rows].double() for affine in maps)
        for spread, (left, right) in zip(spreads, ((gain, gain), (offset, offset), (gain, offset)), strict=True):
            torch.mv(left * right, codes.new_ones(left.shape[1]), out=spread[rows])
    shape = means.shape[1:]
    return JointNormal(*means.cpu().numpy(), *(np.broadcast_to(spread, shape) for spread in spreads.cpu().numpy()))


def ratio(numerator: Array | float, denominator: Array, undefined: Array | float = 0.0) -> Array:
    """Divide elementwise; the result is ``undefined`` where the denominator is zero."""
    with np.errstate(all="ignore"):
        quotient = np.asarray(numerator / denominator)
    return np.where(denominator == 0, undefined, quotient)
