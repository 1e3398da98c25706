"""What the BigGAN family shares: residual blocks of class-conditional batch norms, run from site to site.

A member gives its sites' modulations and statistics as :class:`SiteNorm`, and what lies between: the stem, the
step from the features of one site to the raw input of the next, and the image head.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.generators.base import AffineMap, Generator, Modulation, SiteState


@dataclasses.dataclass(frozen=True)
class ResidualState(SiteState):
    """State inside a residual block.

    Attributes:
        skip: input of the running block, ``[n, C', H', W']``.
        scales: per site, what multiplies the raw input, gain / σ: ``[n, C]``.
        shifts: per site, what is added to it, offset - gain · μ / σ: ``[n, C]``.
    """

    skip: Tensor
    scales: tuple[Tensor, ...]
    shifts: tuple[Tensor, ...]


class SiteNorm(nn.Module):
    """One class-conditional batch norm: ``y = γ(z, e) · (x - μ) / σ + β(z, e)`` (paper eq. 1).

    Args:
        modulation: γ and β as affine maps.
        mean, variance: statistics of the batch norm ``[C]``.
        eps: added to the variance.
    """

    gain_constant: Tensor
    gain_from_class: Tensor
    gain_from_latent: Tensor
    offset_constant: Tensor
    offset_from_class: Tensor
    offset_from_latent: Tensor
    mean: Tensor
    inverse_deviation: Tensor

    def __init__(self, modulation: Modulation, mean: Tensor, variance: Tensor, eps: float) -> None:
        super().__init__()
        for name, affine in (("gain", modulation.gain), ("offset", modulation.offset)):
            for field in dataclasses.fields(AffineMap):
                self.register_buffer(f"{name}_{field.name}", getattr(affine, field.name).detach())
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("inverse_deviation", torch.rsqrt(variance.detach() + eps))

    @property
    def modulation(self) -> Modulation:
        """Gain and offset as affine maps of (z, e)."""
        return Modulation(
            AffineMap(self.gain_constant, self.gain_from_class, self.gain_from_latent),
            AffineMap(self.offset_constant, self.offset_from_class, self.offset_from_latent),
        )

    def scale_and_shift(self, z: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Batch norm and modulation as one multiply-add, ``scale · x + shift``: ``[n, C]`` each."""
        gain, offset = self.modulation.gain, self.modulation.offset
        scale = (gain.class_part(embedding) + gain.latent_part(z)) * self.inverse_deviation
        return scale, offset.class_part(embedding) + offset.latent_part(z) - scale * self.mean


class ResidualGenerator(Generator):
    """A line of sites, each followed by one step of the network.

    Attributes:
        norms: one :class:`SiteNorm` a site.
    """

    norms: nn.ModuleList

    def modulation(self, site: int) -> Modulation:
        """Gain and offset of a site as affine maps of (z, e)."""
        return self._norm(site).modulation

    def begin(self, z: Tensor, embedding: Tensor) -> ResidualState:
        """State at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""
        pairs = [self._norm(site).scale_and_shift(z, embedding) for site in range(len(self.norms))]
        scales, shifts = zip(*pairs, strict=True)
        x = self.stem(z, embedding)
        return ResidualState(0, activate(x, scales[0], shifts[0]), x, scales, shifts)

    def next_site(self, state: SiteState) -> ResidualState:
        """State at the following site."""
        assert isinstance(state, ResidualState)
        x, skip = self.step(state)
        site = state.site + 1
        features = activate(x, state.scales[site], state.shifts[site])
        return dataclasses.replace(state, site=site, features=features, skip=skip)

    def finish(self, state: SiteState) -> Tensor:
        """Images float32 NCHW in [-1, 1] from the state at the last site."""
        assert isinstance(state, ResidualState)
        return self.head(self.step(state)[0]).float()

    def _norm(self, site: int) -> SiteNorm:
        return self.norms[site]  # type: ignore[return-value]

    @abstractmethod
    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Raw input of site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""

    @abstractmethod
    def step(self, state: ResidualState) -> tuple[Tensor, Tensor]:
        """Raw input of the following site (of the head, after the last) and the skip path there."""

    @abstractmethod
    def head(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] from the output of the last block."""


def activate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``ReLU(scale · x + shift)``: x ``[n, C, H, W]``, scale and shift ``[n, C]``."""
    return functional.relu_(torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None]))


def modulation_of_condition(gain: Tensor, offset: Tensor, latent: slice, embedding: slice, z_dim: int) -> Modulation:
    """Modulation ``γ = 1 + W_γ c``, ``β = W_β c`` of a condition vector c made of parts of z and of e.

    Args:
        gain, offset: the weights ``[C, condition_dim]``.
        latent: columns that see z; they must be as many as the latents, or ``z_dim`` wide with zeros elsewhere.
        embedding: columns that see e.
        z_dim: size of z, to check against.
    """
    if latent.stop - latent.start != z_dim:
        raise ValueError(f"latent must select z_dim={z_dim} columns; got {latent}")
    zero = gain.new_zeros(len(gain))
    return Modulation(
        AffineMap(1 + zero, from_class=gain[:, embedding], from_latent=gain[:, latent]),
        AffineMap(zero, from_class=offset[:, embedding], from_latent=offset[:, latent]),
    )


def reaching(weight: Tensor, reached: Tensor) -> Tensor:
    """Input channels with a non-zero weight into any reached output channel: the others are inert.

    Args:
        weight: of a convolution ``[C_out, C_in, k, k]``.
        reached: which of its outputs reach the image, bool ``[C_out]``.
    """
    return (weight[reached] != 0).flatten(2).any(dim=2).any(dim=0)


def inert_channels(reaching_image: Tensor) -> tuple[int, ...]:
    """Indices of the channels that do not reach the image: bool ``[C]`` => ascending."""
    return tuple((~reaching_image).nonzero().flatten().tolist())
