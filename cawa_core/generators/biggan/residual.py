"""Base of the BigGAN family: residual blocks of class-conditional batch norms, run from site to site.

A subclass provides its sites' modulations and statistics as :class:`SiteNorm`, and the layers between them: the stem,
the convolution after each site, the shortcut of each block, and the image head.

The features of a masked state have one row per mask and latent, mask by mask. Tensors that no mask can have changed
keep one row per latent, which is repeated for every mask.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.generators.base import AffineMap, Channels, Generator, MaskedImages, Modulation, SiteState
from cawa_core.generators.biggan.site_convolution import SiteConvolution
from cawa_core.generators.channel_masks import ChannelMasks

CACHED_BYTES = 4 * 2**20
"""Maximum bytes of the feature maps that a CPU carries from one site to the next in one piece: about the size of its
caches, and few enough for the allocator to reuse memory instead of asking the system for fresh pages."""


@dataclasses.dataclass(frozen=True)
class ResidualState(SiteState):
    """State inside a residual block.

    Attributes:
        skip: values that the running block adds to its last convolution, ``[n, C', h, w]``; half as high and wide in
            a block that doubles the resolution.
        scales: factor of each site's raw input, gain / σ, ``[n, C]`` each.
        shifts: amount added to each site's scaled input, offset - gain · μ / σ, ``[n, C]`` each.
    """

    skip: Tensor
    scales: tuple[Tensor, ...]
    shifts: tuple[Tensor, ...]

    def halves(self) -> tuple[ResidualState, ...]:
        """Split the masks into two halves; return an empty tuple if there is only one mask."""
        latents = len(self.scales[0])
        middle = len(self.features) // latents // 2 * latents
        if not middle:
            return ()
        return self._rows(slice(middle)), self._rows(slice(middle, None))

    def _rows(self, rows: slice) -> ResidualState:
        skip = self.skip[rows] if len(self.skip) == len(self.features) else self.skip
        return dataclasses.replace(self, features=self.features[rows], skip=skip)


class SiteNorm(nn.Module):
    """One class-conditional batch norm: ``y = γ(z, e) · (x - μ) / σ + β(z, e)`` (paper eq. 1).

    Args:
        modulation: γ and β as affine maps.
        mean, variance: statistics of the batch norm ``[C]``.
        eps: ε that is added to the variance.
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
        """Return batch norm and modulation as one multiply-add, ``scale · x + shift``: ``[n, C]`` each."""
        gain = self.modulation.gain
        offset = self.modulation.offset
        scale = (gain.class_part(embedding) + gain.latent_part(z)) * self.inverse_deviation
        return scale, offset.class_part(embedding) + offset.latent_part(z) - scale * self.mean


class ResidualGenerator(Generator):
    """A generator made of residual blocks, in which one convolution follows each site.

    Attributes:
        sites_per_block: number of sites, and so of convolutions, in a residual block.
        norms: one :class:`SiteNorm` per site.
        convolutions: one :class:`SiteConvolution` per site.
    """

    sites_per_block: int
    norms: nn.ModuleList
    convolutions: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.activate = activate

    def compile_steps(self) -> None:
        """Compile scaling, shifting and ReLU as one function for all sites.

        The addition of the shortcut is not compiled, because TorchInductor's code for it leaves some of the blocks of
        pixels unwritten (torch 2.14, on a CPU).
        """
        self.activate = torch.compile(activate, dynamic=True)

    def modulation(self, site: int) -> Modulation:
        """Return gain and offset of a site as affine maps of (z, e)."""
        return self._norm(site).modulation

    def begin(self, z: Tensor, embedding: Tensor) -> ResidualState:
        """Compute the state at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""
        scales, shifts = self._scales_and_shifts(z, embedding)
        x = self.stem(z, embedding)
        return ResidualState(0, self.activate(x, scales[0], shifts[0]), self.shortcut(0, x), scales, shifts)

    def reconditioned(self, state: SiteState, z: Tensor, embedding: Tensor) -> ResidualState:
        """Return the state with all later sites under another class; its features and everything before them stay."""
        assert isinstance(state, ResidualState)
        scales, shifts = self._scales_and_shifts(z, embedding)
        return dataclasses.replace(state, scales=scales, shifts=shifts)

    def next_site(self, state: SiteState) -> ResidualState:
        """Compute the state at the next site."""
        assert isinstance(state, ResidualState)
        return self._activated(state, *self._joined(state, self._convolution(state.site)(state.features)))

    def _outgrows_cache(self, state: ResidualState, rows: int) -> bool:
        """Return whether this many rows of the features at the site, or at the next, exceed a CPU's caches."""
        largest = max(site.channels * site.resolution**2 for site in self.sites[state.site : state.site + 2])
        features = state.features
        return features.device.type == "cpu" and rows * largest * features.element_size() > CACHED_BYTES

    def finish(self, state: SiteState) -> Tensor:
        """Compute images, float32 NCHW in [-1, 1], from the state at the last site."""
        assert isinstance(state, ResidualState)
        x, _ = self._joined(state, self._convolution(state.site)(state.features))
        return self.head(x).float()

    def under_masks(self, state: SiteState, masks: Sequence[Channels], factor: float = 0) -> MaskedImages:
        """Prepare the images under masks of the state's site; the convolution after it is computed only once."""
        assert isinstance(state, ResidualState)
        convolution = self._convolution(state.site)
        outputs = convolution(state.features)
        on_device = ChannelMasks.of(masks, state.features.device)

        def images_of(selected: ChannelMasks) -> Tensor:
            if len(selected) > 1 and self._outgrows_cache(state, len(selected) * len(state.features)):
                middle = len(selected) // 2
                return torch.cat([images_of(selected[:middle]), images_of(selected[middle:])])
            x, skip = self._joined(state, convolution.under_masks(outputs, state.features, selected, factor))
            if state.site == len(self.sites) - 1:
                return self.head(x).float()
            return self._run_on(self._activated(state, x, skip))

        return lambda places: images_of(on_device[places])

    def _run_on(self, state: ResidualState) -> Tensor:
        """Compute the images of several masks, in pieces of fewer masks if the feature maps exceed a CPU's caches."""
        if self._outgrows_cache(state, len(state.features)) and (halves := state.halves()):
            return torch.cat([self._run_on(half) for half in halves])
        return self.finish(state) if state.site == len(self.sites) - 1 else self._run_on(self.next_site(state))

    def _joined(self, state: ResidualState, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the raw input of the next site (of the head, after the last site) and the skip path there."""
        if (state.site + 1) % self.sites_per_block:
            return x, state.skip
        block = state.site // self.sites_per_block
        x = self.after_block(block, with_shortcut_added(x, state.skip))
        if state.site + 1 == len(self.sites):
            return x, x
        return x, self.shortcut(block + 1, x)

    def _activated(self, state: ResidualState, x: Tensor, skip: Tensor) -> ResidualState:
        site = state.site + 1
        inside_block = site % self.sites_per_block != 0  # elsewhere the shortcut may be a view of x
        features = self.activate(x, state.scales[site], state.shifts[site], owned=inside_block)
        return dataclasses.replace(state, site=site, features=features, skip=skip)

    def _scales_and_shifts(self, z: Tensor, embedding: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return batch norm and modulation of every site as a multiply-add: scales and shifts, ``[n, C]`` each."""
        pairs = [self._norm(site).scale_and_shift(z, embedding) for site in range(len(self.norms))]
        return tuple(scale for scale, _ in pairs), tuple(shift for _, shift in pairs)

    def _norm(self, site: int) -> SiteNorm:
        return self.norms[site]  # type: ignore[return-value]

    def _convolution(self, site: int) -> SiteConvolution:
        return self.convolutions[site]  # type: ignore[return-value]

    @abstractmethod
    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Compute the raw input of site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""

    @abstractmethod
    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """Compute the skip path of a block from its input ``[n, C, h, w]``, at the same resolution."""

    def after_block(self, block: int, x: Tensor) -> Tensor:  # noqa: ARG002
        """Apply the layer after the sum at the end of a block, such as attention; by default there is none."""
        return x

    @abstractmethod
    def head(self, x: Tensor) -> Tensor:
        """Compute images in [-1, 1] from the output of the last block, which may be overwritten."""


def activate(x: Tensor, scale: Tensor, shift: Tensor, *, owned: bool = False) -> Tensor:
    """Compute ``ReLU(scale · x + shift)``: x ``[m · n, C, H, W]``, scale and shift ``[n, C]``.

    Args:
        x: raw input.
        scale, shift: one row per latent, repeated m times, or one row for all of x; converted to the type of x.
        owned: whether x is not used again, and may be overwritten: fresh memory costs more than the arithmetic.
    """
    rows = x if len(scale) in (1, len(x)) else x.unflatten(0, (-1, len(scale)))
    scale, shift = (values.to(x.dtype)[:, :, None, None] for values in (scale, shift))
    if owned and not torch.is_grad_enabled():
        torch.addcmul(shift, rows, scale, out=rows)
        return functional.relu_(x)
    result: Tensor = functional.relu_(torch.addcmul(shift, rows, scale))
    return result.view_as(x) if rows is x else result.flatten(0, 1)


def with_shortcut_added(x: Tensor, shortcut: Tensor) -> Tensor:
    """Add ``shortcut [n, C, h, w]`` to ``x [m · n, C, H, W]`` in place.

    The rows of the shortcut are repeated m times, and its pixels to blocks of ``H / h`` by ``W / w``, which is
    nearest-neighbour upsampling without the enlarged copy.
    """
    height, width = shortcut.shape[2:]
    if x.shape == shortcut.shape:
        return x.add_(shortcut)
    blocks = x.unflatten(0, (-1, len(shortcut))).unflatten(3, (height, -1)).unflatten(5, (width, -1))
    blocks.add_(shortcut[:, :, :, None, :, None])
    return x


def scale_and_shift_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return a batch norm with recorded statistics as one multiply-add: scale and shift, ``[1, C]`` each."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps) * (1 if norm.weight is None else norm.weight.detach())
    shift = (0 if norm.bias is None else norm.bias.detach()) - scale * norm.running_mean
    return scale[None], shift[None]


def modulation_of_condition(gain: Tensor, offset: Tensor, latent: slice, embedding: slice, z_dim: int) -> Modulation:
    """Build the modulation ``γ = 1 + W_γ c``, ``β = W_β c`` of a condition vector c made of parts of z and of e.

    Args:
        gain, offset: weights ``[C, condition_dim]``.
        latent: columns for z, as many as ``z_dim``; zero for latents that the site does not get.
        embedding: columns for e.
        z_dim: size of z.

    Raises:
        ValueError: ``latent`` selects another number of columns.
    """
    if latent.stop - latent.start != z_dim:
        raise ValueError(f"latent must select z_dim={z_dim} columns; got {latent}")
    zero = gain.new_zeros(len(gain))
    return Modulation(
        AffineMap(1 + zero, from_class=gain[:, embedding], from_latent=gain[:, latent]),
        AffineMap(zero, from_class=offset[:, embedding], from_latent=offset[:, latent]),
    )


def reaching(weight: Tensor, reached: Tensor) -> Tensor:
    """Return which input channels have a nonzero weight into any reached output channel: bool ``[C_in]``.

    Args:
        weight: weights of a convolution ``[C_out, C_in, k, k]``.
        reached: which of its outputs reach the image, bool ``[C_out]``.
    """
    return (weight[reached] != 0).flatten(2).any(dim=2).any(dim=0)


def inert_channels(reaching_image: Tensor) -> tuple[int, ...]:
    """Return the indices of the channels that do not reach the image, in ascending order: bool ``[C]`` => indices."""
    return tuple((~reaching_image).nonzero().flatten().tolist())
