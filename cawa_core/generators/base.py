"""Interface of a generator: a straight line of class-conditional sites.

A *site* is a class-conditional batch norm (CCBN) followed by a ReLU. Awareness reads the modulation of a
site; segmentation reads the features there, and :mod:`cawa_core.interventions` changes them. A model is
added by implementing the five abstract methods of :class:`Generator`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from cawa_core.errors import InputError
from cawa_core.generators.channel_masks import ChannelMasks
from cawa_core.generators.class_tables import ClassTable
from cawa_core.generators.truncation import truncated, truncated_deviation
from cawa_core.numerics.latents import standard_normal

Channels = tuple[int, ...]
"""Channels of one site, by index."""
MaskedImages = Callable[[slice], Tensor]
"""Function that renders the masks that a slice selects: images ``[n_masks · n, C, H, W]``, mask by mask."""


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
    """Affine map ``value(z, e) = constant + from_class · e + from_latent · z`` for every channel of a site.

    Attributes:
        constant: value at z = 0 and e = 0, ``[C]``; the 1 of a gain ``1 + …`` belongs here.
        from_class: weights of the class embedding, ``[C, embed_dim]``.
        from_latent: weights of the latents, ``[C, z_dim]``.
    """

    constant: Tensor
    from_class: Tensor
    from_latent: Tensor

    def class_part(self, embedding: Tensor) -> Tensor:
        """Return the mean over ``z ~ N(0, I)``: embedding ``[n, embed_dim]`` => ``[n, C]``."""
        return self.constant + embedding @ self.from_class.T

    def latent_part(self, z: Tensor) -> Tensor:
        """Return the deviation from the class part, the same for every class: z ``[n, z_dim]`` => ``[n, C]``."""
        return z @ self.from_latent.T

    def double(self) -> AffineMap:
        """Return the same map in float64, on the CPU."""
        return AffineMap(*(part.cpu().double() for part in (self.constant, self.from_class, self.from_latent)))

    def with_latent_scaled(self, factor: float) -> AffineMap:
        """Return the map as a function of ``z / factor``, which is standard normal if z has that standard deviation."""
        return dataclasses.replace(self, from_latent=self.from_latent * factor)


@dataclasses.dataclass(frozen=True)
class Modulation:
    """Gain γ and offset β of one site (paper eq. 1)."""

    gain: AffineMap
    offset: AffineMap

    def with_latent_scaled(self, factor: float) -> Modulation:
        """Return the modulation as a function of ``z / factor``; see :meth:`AffineMap.with_latent_scaled`."""
        return Modulation(self.gain.with_latent_scaled(factor), self.offset.with_latent_scaled(factor))


@dataclasses.dataclass(frozen=True)
class SiteState:
    """State of a pass just after the ReLU of a site: everything that the rest of the network needs.

    Each family of models adds fields of its own.

    Attributes:
        site: index of the site.
        features: features after the ReLU, ``[n, C, H, W]``.
    """

    site: int
    features: Tensor

    def with_features(self, features: Tensor) -> Self:
        """Return the same state with other features at its site; see :mod:`cawa_core.interventions`."""
        return dataclasses.replace(self, features=features)


def class_ids_of(class_id: int, z: Tensor) -> Tensor:
    """Return the same class for every latent: int64 ``[n]``."""
    return torch.full((len(z),), class_id, dtype=torch.int64, device=z.device)


def spread_classes(count: int, n_classes: int, device: torch.device | str = "cpu") -> Tensor:
    """Return classes of a sample, in turn; of more classes than the sample has images, evenly spaced ones.

    Args:
        count: number of images.
        n_classes: number of classes.
        device: where the result goes.

    Returns:
        int64 ``[count]`` in 0..n_classes - 1.
    """
    places = torch.arange(count, device=device)
    return places % n_classes if count >= n_classes else places * n_classes // count


class Generator(nn.Module, ABC):
    """A class-conditional generator seen as a straight line of sites.

    Attributes:
        name: name of the model in the registry.
        digest: SHA-256 of the weights; part of every result's identity.
        sites: sites in forward order.
        z_dim, embed_dim: sizes of latent code and class embedding.
        image_size: side of the square image in pixels.
        image_channels: 3 for colour, 1 for grey.
        classes: names of the classes, and their WordNet ids if there are any.
        description: one line about the loaded model that names and sizes do not tell.
        truncation: truncation of the latents: they are N(0, I) at 1, and truncated normal, scaled by it, below 1.
        has_gradients: whether gradients flow through a pass, as screening needs.
        takes_embeddings: whether a class embedding may be any vector, rather than that of a class alone.
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
    takes_embeddings: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices."""
        return self.classes.names

    @property
    def n_classes(self) -> int:
        """Number of classes that the model was trained on."""
        return len(self.classes)

    @property
    def mixes_classes(self) -> bool:
        """Whether the generator implements :meth:`reconditioned`, and so can mix classes."""
        return type(self).reconditioned is not Generator.reconditioned

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def require_channels(self, site: int, channels: Sequence[int]) -> None:
        """Check that channels of a site exist.

        Raises:
            InputError: the site or a channel does not exist, no channel is given, or one is given twice.
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
        """Check that a class exists.

        Raises:
            InputError: it does not.
        """
        if not 0 <= class_id < self.n_classes:
            raise InputError(
                f"class_id must be in 0..{self.n_classes - 1} for {self.name}; got {class_id}, see `cawa classes`"
            )

    def require_sites(self, sites: Sequence[int]) -> None:
        """Check that sites exist.

        Raises:
            InputError: a site does not exist, no site is given, or one is given twice.
        """
        for site in sites:
            self.require_channels(site, (0,))
        if not sites or len(set(sites)) < len(sites):
            raise InputError(f"sites must be different ones, at least one; got {list(sites)}")

    def compile_steps(self) -> None:
        """Compile the steps of a pass that torch.compile makes faster; by default none."""

    def sample_latents(self, run_seed: int, class_id: int, indices: Sequence[int]) -> Tensor:
        """Draw latents ``[n, z_dim]``, truncated if requested; each depends only on (run seed, class, index)."""
        return truncated(standard_normal(run_seed, class_id, indices, self.z_dim), self.truncation).to(self.device)

    @property
    def latent_deviation(self) -> float:
        """Standard deviation of one latent coordinate: 1 without truncation."""
        return truncated_deviation(self.truncation)

    def run_to(self, site: int, z: Tensor, class_ids: Tensor) -> SiteState:
        """Run up to the ReLU of ``site``: z ``[n, z_dim]``, class_ids int64 ``[n]``."""
        return self.advance(self.begin(z, self.class_embedding(class_ids)), site)

    def advance(self, state: SiteState, site: int) -> SiteState:
        """Run from one site to a later one, or stay there."""
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
        """Prepare the images under masks of the state's site; work that all masks share is done once, here.

        Args:
            state: state of the latents at the site.
            masks: channels masked together, one entry per mask; an empty one masks nothing.
            factor: factor that a mask multiplies its channels by.

        Returns:
            A function that renders the masks that a slice selects.
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
        """Compute images and each site's features on the way to them, for derivatives of functions of the images.

        Returns:
            One tensor ``[n, C, H, W]`` per site, all part of the autograd graph of the images, whose product with its
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
        """Compute images, float32 NCHW in [-1, 1], of latents ``[n, z_dim]`` and classes ``[n]``."""
        return self.run_from(0, self.run_to(0, z, class_ids))

    @abstractmethod
    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""

    @abstractmethod
    def modulation(self, site: int) -> Modulation:
        """Return gain and offset of a site as affine maps of (z, e)."""

    def is_affine(self, site: int) -> bool:  # noqa: ARG002
        """Return whether gain and offset of a site are affine in z and e, so that :meth:`modulation` exists."""
        return True

    def gains_and_offsets(self, site: int, z: Tensor, class_id: int) -> tuple[Tensor, Tensor]:
        """Compute gain and offset of a site for latents ``[n, z_dim]`` of one class: ``[n, C]`` each."""
        embedding = self.class_embedding(torch.tensor([class_id], device=z.device))
        modulation = self.modulation(site)
        gain = modulation.gain
        offset = modulation.offset
        return (
            gain.class_part(embedding) + gain.latent_part(z),
            offset.class_part(embedding) + offset.latent_part(z),
        )

    @abstractmethod
    def begin(self, z: Tensor, embedding: Tensor) -> SiteState:
        """Compute the state at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""

    def reconditioned(self, state: SiteState, z: Tensor, embedding: Tensor) -> SiteState:  # noqa: ARG002
        """Return the state with all later sites under another class; its features and everything before them stay.

        Args:
            state: state at any site.
            z: latents of the state ``[n, z_dim]``.
            embedding: class embeddings of the later sites ``[n, embed_dim]``.

        Raises:
            InputError: the generator cannot change its class on the way.
        """
        raise InputError(f"{self.name} takes one class for a whole picture and cannot mix classes")

    @abstractmethod
    def next_site(self, state: SiteState) -> SiteState:
        """Compute the state at the next site."""

    @abstractmethod
    def finish(self, state: SiteState) -> Tensor:
        """Compute images from the state at the last site."""
