"""The one place where everything meets a generator: a straight line of class-conditional sites.

A *site* is a class-conditional batch norm (CCBN) followed by a ReLU. Awareness reads the modulation of a
site; segmentation reads the features there, and :mod:`cawa_core.interventions` changes them. A model joins by
implementing the five small methods at the end of :class:`Generator`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from cawa_core.class_tables import ClassTable
from cawa_core.errors import InputError
from cawa_core.generators.channel_masks import ChannelMasks
from cawa_core.seeds import standard_normal
from cawa_core.truncation import truncated, truncated_deviation

Channels = tuple[int, ...]
"""Channels of one site, by index."""
MaskedImages = Callable[[slice], Tensor]
"""Some of the masks, by place => images ``[n_masks · n, C, H, W]``, mask by mask."""


@dataclasses.dataclass(frozen=True)
class Site:
    """One CCBN + ReLU pair.

    Attributes:
        index: position in forward order, from 0 ("layer 0" of the paper's tables).
        name: the module's name inside the network.
        channels: number of feature channels C.
        resolution: side of the square feature map, in pixels.
        inert_channels: channels that cannot reach the image whatever their value.
    """

    index: int
    name: str
    channels: int
    resolution: int
    inert_channels: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class AffineMap:
    """``value(z, e) = constant + from_class · e + from_latent · z`` for every channel of a site.

    Attributes:
        constant: ``[C]``; a gain's ``1 +`` belongs here.
        from_class: ``[C, embed_dim]``.
        from_latent: ``[C, z_dim]``.
    """

    constant: Tensor
    from_class: Tensor
    from_latent: Tensor

    def class_part(self, embedding: Tensor) -> Tensor:
        """Mean over ``z ~ N(0, I)``: embedding ``[n, embed_dim]`` => ``[n, C]``."""
        return self.constant + embedding @ self.from_class.T

    def latent_part(self, z: Tensor) -> Tensor:
        """Deviation from the class part; the same for every class: z ``[n, z_dim]`` => ``[n, C]``."""
        return z @ self.from_latent.T

    def double(self) -> AffineMap:
        """The same map in float64, on the CPU."""
        return AffineMap(*(part.cpu().double() for part in (self.constant, self.from_class, self.from_latent)))

    def with_latent_scaled(self, factor: float) -> AffineMap:
        """The map of ``z / factor``: what it is for latents of that standard deviation."""
        return dataclasses.replace(self, from_latent=self.from_latent * factor)


@dataclasses.dataclass(frozen=True)
class Modulation:
    """Gain γ and offset β of one site (paper eq. 1)."""

    gain: AffineMap
    offset: AffineMap

    def with_latent_scaled(self, factor: float) -> Modulation:
        """What it is for latents of another standard deviation than 1, read as if it were 1."""
        return Modulation(self.gain.with_latent_scaled(factor), self.offset.with_latent_scaled(factor))


@dataclasses.dataclass(frozen=True)
class SiteState:
    """All that the rest of the network needs, just after the ReLU of a site; each family of models adds its own.

    Attributes:
        site: index of the site.
        features: after the ReLU, ``[n, C, H, W]``.
    """

    site: int
    features: Tensor

    def with_features(self, features: Tensor) -> Self:
        """The same state with other features at its site; see :mod:`cawa_core.interventions`."""
        return dataclasses.replace(self, features=features)


def class_ids_of(class_id: int, z: Tensor) -> Tensor:
    """The same class for every latent: int64 ``[n]``."""
    return torch.full((len(z),), class_id, dtype=torch.int64, device=z.device)


class Generator(nn.Module, ABC):
    """A class-conditional generator seen as a straight line of sites.

    Attributes:
        name: the registry's name of the model.
        digest: SHA-256 of the weights; part of every result's identity.
        sites: in forward order.
        z_dim, embed_dim: sizes of latent code and class embedding.
        image_size: side of the square image in pixels.
        image_channels: 3, or 1 where images are grey.
        classes: names, and WordNet ids where there are any.
        description: one line about what was loaded, where names and sizes do not say it.
        truncation: latents are N(0, I) at 1, and truncated normal scaled by it below.
        has_gradients: whether a pass lets gradients through, for screening.
    """

    name: str
    digest: str
    sites: tuple[Site, ...]
    z_dim: int
    embed_dim: int
    image_size: int
    image_channels: int = 3
    classes: ClassTable
    description: str = ""
    truncation: float = 1.0
    has_gradients: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """One a class."""
        return self.classes.names

    @property
    def n_classes(self) -> int:
        """How many classes the model was trained on."""
        return len(self.classes)

    @property
    def mixes_classes(self) -> bool:
        """Whether it has :meth:`reconditioned`, and so hybrids of classes."""
        return type(self).reconditioned is not Generator.reconditioned

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def require_channels(self, site: int, channels: Sequence[int]) -> None:
        """Check that there are some channels.

        Raises:
            InputError: no such site or channel, none given, or one given twice.
        """
        if not 0 <= site < len(self.sites):
            raise InputError(f"site must be in 0..{len(self.sites) - 1} for {self.name}; got {site}, see `cawa sites`")
        most = self.sites[site].channels - 1
        for channel in channels:
            if not 0 <= channel <= most:
                raise InputError(f"channels must be in 0..{most} at site {site} of {self.name}; got {channel}")
        if not channels or len(set(channels)) < len(channels):
            raise InputError(f"channels must be different ones, at least one; got {list(channels)}")

    def require_class(self, class_id: int) -> None:
        """Check that there is such a class.

        Raises:
            InputError: there is none.
        """
        if not 0 <= class_id < self.n_classes:
            raise InputError(
                f"class_id must be in 0..{self.n_classes - 1} for {self.name}; got {class_id}, see `cawa classes`"
            )

    def require_sites(self, sites: Sequence[int]) -> None:
        """Check that there are some sites.

        Raises:
            InputError: no such site, none given, or one given twice.
        """
        for site in sites:
            self.require_channels(site, (0,))
        if not sites or len(set(sites)) < len(sites):
            raise InputError(f"sites must be different ones, at least one; got {list(sites)}")

    def compile_steps(self) -> None:
        """Send through torch.compile what gains by it: nothing, where a generator does not say what."""

    def sample_latents(self, run_seed: int, class_id: int, indices: Sequence[int]) -> Tensor:
        """Latents ``[n, z_dim]``, truncated where asked, each a function of (run seed, class, index) alone."""
        return truncated(standard_normal(run_seed, class_id, indices, self.z_dim), self.truncation).to(self.device)

    @property
    def latent_deviation(self) -> float:
        """Standard deviation of one latent coordinate: 1 without truncation."""
        return truncated_deviation(self.truncation)

    def run_to(self, site: int, z: Tensor, class_ids: Tensor) -> SiteState:
        """Run as far as the ReLU of ``site``: z ``[n, z_dim]``, class_ids int64 ``[n]``."""
        return self.advance(self.begin(z, self.class_embedding(class_ids)), site)

    def advance(self, state: SiteState, site: int) -> SiteState:
        """Run on from one site to a later one (or stay)."""
        if not state.site <= site < len(self.sites):
            raise ValueError(f"site must be in [{state.site}, {len(self.sites) - 1}] to advance to; got {site}")
        while state.site < site:
            state = self.next_site(state)
        return state

    def run_from(self, site: int, state: SiteState) -> Tensor:
        """Run from the ReLU of ``site`` to images: float32 NCHW in [-1, 1]."""
        if state.site != site:
            raise ValueError(f"state was taken at site {state.site}, not at site {site}")
        return self.finish(self.advance(state, len(self.sites) - 1))

    def under_masks(self, state: SiteState, masks: Sequence[Channels], factor: float = 0) -> MaskedImages:
        """What gives the images under masks of the state's site; what all masks share is done once, here.

        Args:
            state: of the latents.
            masks: channels masked together, one entry per mask; an empty one masks nothing.
            factor: what a mask multiplies its channels by.
        """
        on_device = ChannelMasks.of(masks, state.features.device)

        def images_under(index: Tensor) -> Tensor:
            features = state.features
            if factor:
                features = features.index_copy(1, index, features.index_select(1, index) * factor)
            else:
                features = features.index_fill(1, index, 0)
            return self.run_from(state.site, state.with_features(features))

        def images(places: slice) -> Tensor:
            each = (on_device.channels_of(place) for place in range(len(masks))[places])
            return torch.cat([images_under(index) for index in each])

        return images

    def features_and_images(self, z: Tensor, class_ids: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images, and each site's features on the way to them, for derivatives of what is made of the images.

        Returns:
            A tensor ``[n, C, H, W]`` a site, all part of the autograd graph of the images, whose product with its
            own gradient is that of the features after the ReLU; and the images.
        """
        state = self.run_to(0, z, class_ids)
        state = state.with_features(state.features.detach().requires_grad_())
        features = [state.features]
        while state.site < len(self.sites) - 1:
            state = self.next_site(state)
            features.append(state.features)
        return features, self.finish(state)

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Images of latents ``[n, z_dim]`` and classes ``[n]``: float32 NCHW in [-1, 1]."""
        return self.run_from(0, self.run_to(0, z, class_ids))

    @abstractmethod
    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""

    @abstractmethod
    def modulation(self, site: int) -> Modulation:
        """Gain and offset of a site as affine maps of (z, e)."""

    def is_affine(self, site: int) -> bool:  # noqa: ARG002
        """Whether gain and offset of a site are affine in z and e, so that :meth:`modulation` exists."""
        return True

    def gains_and_offsets(self, site: int, z: Tensor, class_id: int) -> tuple[Tensor, Tensor]:
        """Gain and offset of a site for latents ``[n, z_dim]`` of one class: ``[n, C]`` each."""
        embedding = self.class_embedding(torch.tensor([class_id], device=z.device))
        modulation = self.modulation(site)
        gain, offset = modulation.gain, modulation.offset
        return (
            gain.class_part(embedding) + gain.latent_part(z),
            offset.class_part(embedding) + offset.latent_part(z),
        )

    @abstractmethod
    def begin(self, z: Tensor, embedding: Tensor) -> SiteState:
        """State at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""

    def reconditioned(self, state: SiteState, z: Tensor, embedding: Tensor) -> SiteState:  # noqa: ARG002
        """The state with all later sites under another class; its features and what came before stay.

        Args:
            state: at any site.
            z: latents of the state ``[n, z_dim]``.
            embedding: class embeddings ``[n, embed_dim]`` for what follows.

        Raises:
            InputError: the generator cannot change its class on the way.
        """
        raise InputError(f"{self.name} takes one class for a whole picture and cannot mix classes")

    @abstractmethod
    def next_site(self, state: SiteState) -> SiteState:
        """State at the following site."""

    @abstractmethod
    def finish(self, state: SiteState) -> Tensor:
        """Images from the state at the last site."""
