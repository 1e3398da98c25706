"""What the BigGAN family shares: residual blocks of class-conditional batch norms, run from site to site.

A member gives its sites' modulations and statistics as :class:`SiteNorm`, and what lies between: the stem, the
convolution after each site, the shortcut of each block, and the image head.

Where a state is masked, its features have a row for each mask and latent, mask by mask, while what no mask can have
touched keeps one row a latent: rows of the shorter repeat.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.generators.base import AffineMap, Channels, Generator, MaskedImages, Modulation, SiteState
from cawa_core.generators.channel_masks import ChannelMasks
from cawa_core.generators.site_convolution import SiteConvolution

CACHED_BYTES = 4 * 2**20
"""Of the feature maps that a CPU carries from one site to the next in one piece: about what its caches hold, and
memory that the allocator keeps instead of asking the system for fresh pages."""


@dataclasses.dataclass(frozen=True)
class ResidualState(SiteState):
    """State inside a residual block.

    Attributes:
        skip: what the running block adds to its last convolution, ``[n, C', h, w]``; half as high and wide in a
            block that doubles the resolution.
        scales: per site, what multiplies the raw input, gain / σ: ``[n, C]``.
        shifts: per site, what is added to it, offset - gain · μ / σ: ``[n, C]``.
    """

    skip: Tensor
    scales: tuple[Tensor, ...]
    shifts: tuple[Tensor, ...]

    def halves(self) -> tuple[ResidualState, ...]:
        """Half of the masks and the other half; none where there is one mask."""
        latents = len(self.scales[0])
        middle = len(self.features) // latents // 2 * latents
        return (self._rows(slice(middle)), self._rows(slice(middle, None))) if middle else ()

    def _rows(self, rows: slice) -> ResidualState:
        skip = self.skip[rows] if len(self.skip) == len(self.features) else self.skip
        return dataclasses.replace(self, features=self.features[rows], skip=skip)


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
    """A line of sites, each followed by one convolution.

    Attributes:
        sites_per_block: how many sites, and so convolutions, a residual block has.
        norms: one :class:`SiteNorm` a site.
        convolutions: one :class:`SiteConvolution` a site.
    """

    sites_per_block: int
    norms: nn.ModuleList
    convolutions: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.activate = activate

    def compile_steps(self) -> None:
        """Compile what follows each convolution, in one piece for all sites.

        Adding the shortcut stays as it is: of its blocks of pixels TorchInductor makes code that leaves some of them
        unwritten (torch 2.14, on a CPU).
        """
        self.activate = torch.compile(activate, dynamic=True)

    def modulation(self, site: int) -> Modulation:
        """Gain and offset of a site as affine maps of (z, e)."""
        return self._norm(site).modulation

    def begin(self, z: Tensor, embedding: Tensor) -> ResidualState:
        """State at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""
        scales, shifts = self._scales_and_shifts(z, embedding)
        x = self.stem(z, embedding)
        return ResidualState(0, self.activate(x, scales[0], shifts[0]), self.shortcut(0, x), scales, shifts)

    def reconditioned(self, state: SiteState, z: Tensor, embedding: Tensor) -> ResidualState:
        """The state with all later sites under another class; its features and what came before stay."""
        assert isinstance(state, ResidualState)
        scales, shifts = self._scales_and_shifts(z, embedding)
        return dataclasses.replace(state, scales=scales, shifts=shifts)

    def next_site(self, state: SiteState) -> ResidualState:
        """State at the following site."""
        assert isinstance(state, ResidualState)
        return self._activated(state, *self._joined(state, self._convolution(state.site)(state.features)))

    def _outgrows_cache(self, state: ResidualState, rows: int) -> bool:
        """Whether so many rows of the features at the site, or at the next, exceed what a CPU's caches hold."""
        largest = max(site.channels * site.resolution**2 for site in self.sites[state.site : state.site + 2])
        features = state.features
        return features.device.type == "cpu" and rows * largest * features.element_size() > CACHED_BYTES

    def finish(self, state: SiteState) -> Tensor:
        """Images float32 NCHW in [-1, 1] from the state at the last site."""
        assert isinstance(state, ResidualState)
        x, _ = self._joined(state, self._convolution(state.site)(state.features))
        return self.head(x).float()

    def under_masks(self, state: SiteState, masks: Sequence[Channels], factor: float = 0) -> MaskedImages:
        """Images under masks of the state's site; the convolution after it is done once for all of them."""
        assert isinstance(state, ResidualState)
        convolution = self._convolution(state.site)
        outputs = convolution(state.features)
        on_device = ChannelMasks.of(masks, state.features.device)

        def images_of(some: ChannelMasks) -> Tensor:
            if len(some) > 1 and self._outgrows_cache(state, len(some) * len(state.features)):
                middle = len(some) // 2
                return torch.cat([images_of(some[:middle]), images_of(some[middle:])])
            x, skip = self._joined(state, convolution.under_masks(outputs, state.features, some, factor))
            if state.site == len(self.sites) - 1:
                return self.head(x).float()
            return self._run_on(self._activated(state, x, skip))

        return lambda places: images_of(on_device[places])

    def _run_on(self, state: ResidualState) -> Tensor:
        """Images of several masks, in pieces of fewer masks where a CPU's cache no longer holds the feature maps."""
        if self._outgrows_cache(state, len(state.features)) and (halves := state.halves()):
            return torch.cat([self._run_on(half) for half in halves])
        return self.finish(state) if state.site == len(self.sites) - 1 else self._run_on(self.next_site(state))

    def _joined(self, state: ResidualState, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw input of the following site (of the head, after the last) and the skip path there."""
        if (state.site + 1) % self.sites_per_block:
            return x, state.skip
        block = state.site // self.sites_per_block
        x = self.after_block(block, with_shortcut_added(x, state.skip))
        return x, self.shortcut(block + 1, x) if state.site + 1 < len(self.sites) else x

    def _activated(self, state: ResidualState, x: Tensor, skip: Tensor) -> ResidualState:
        site = state.site + 1
        inside_block = site % self.sites_per_block != 0  # elsewhere the shortcut may be a view of x
        features = self.activate(x, state.scales[site], state.shifts[site], owned=inside_block)
        return dataclasses.replace(state, site=site, features=features, skip=skip)

    def _scales_and_shifts(self, z: Tensor, embedding: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Batch norm and modulation of every site as one multiply-add: ``[n, C]`` each."""
        pairs = [self._norm(site).scale_and_shift(z, embedding) for site in range(len(self.norms))]
        return tuple(scale for scale, _ in pairs), tuple(shift for _, shift in pairs)

    def _norm(self, site: int) -> SiteNorm:
        return self.norms[site]  # type: ignore[return-value]

    def _convolution(self, site: int) -> SiteConvolution:
        return self.convolutions[site]  # type: ignore[return-value]

    @abstractmethod
    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Raw input of site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""

    @abstractmethod
    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """What a block adds to its last convolution, from its input ``[n, C, h, w]`` and as large."""

    def after_block(self, block: int, x: Tensor) -> Tensor:  # noqa: ARG002
        """What follows the sum at the end of a block: nothing, or attention."""
        return x

    @abstractmethod
    def head(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] from the output of the last block, which may be overwritten."""


def activate(x: Tensor, scale: Tensor, shift: Tensor, *, owned: bool = False) -> Tensor:
    """``ReLU(scale · x + shift)``: x ``[m · n, C, H, W]``, scale and shift ``[n, C]``.

    Args:
        x: raw input.
        scale, shift: one row for every m-th of x, or one for all; taken to the arithmetic of x.
        owned: x is not used again, and may be overwritten: fresh memory costs more than the arithmetic.
    """
    rows = x if len(scale) in (1, len(x)) else x.unflatten(0, (-1, len(scale)))
    scale, shift = (values.to(x.dtype)[:, :, None, None] for values in (scale, shift))
    if owned and not torch.is_grad_enabled():
        torch.addcmul(shift, rows, scale, out=rows)
        return functional.relu_(x)
    result: Tensor = functional.relu_(torch.addcmul(shift, rows, scale))
    return result.view_as(x) if rows is x else result.flatten(0, 1)


def with_shortcut_added(x: Tensor, shortcut: Tensor) -> Tensor:
    """``x [m · n, C, H, W]``, changed in place, plus ``shortcut [n, C, h, w]``.

    Its rows are repeated m times, and its pixels to blocks of ``H / h`` by ``W / w``: nearest-neighbour upsampling
    without the enlarged copy.
    """
    height, width = shortcut.shape[2:]
    if x.shape == shortcut.shape:
        return x.add_(shortcut)
    blocks = x.unflatten(0, (-1, len(shortcut))).unflatten(3, (height, -1)).unflatten(5, (width, -1))
    blocks.add_(shortcut[:, :, :, None, :, None])
    return x


def scale_and_shift_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A batch norm with recorded statistics as one multiply-add: ``[1, C]`` each."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps) * (1 if norm.weight is None else norm.weight.detach())
    shift = (0 if norm.bias is None else norm.bias.detach()) - scale * norm.running_mean
    return scale[None], shift[None]


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
