"""The bundled generators, ``fashion-biggan`` and ``scenes-biggan``, as sequences of sites."""

from __future__ import annotations

import json
from typing import ClassVar, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cawa_core import assets
from cawa_core.generators.base import Site
from cawa_core.generators.biggan.residual import (
    ResidualGenerator,
    SiteNorm,
    inert_channels,
    modulation_of_condition,
    reaching,
    scale_and_shift_of,
)
from cawa_core.generators.biggan.site_convolution import PlaneConvolution, SiteConvolution, UpsamplingConvolution
from cawa_core.generators.class_tables import ClassTable
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.network import (
    Architecture,
    ClassConditionalBatchNorm,
    SmallBigGANNetwork,
)
from cawa_core.real_images.fashion import CLASS_NAMES as FASHION_CLASS_NAMES
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES as SCENES_CLASS_NAMES


class SmallBigGAN(ResidualGenerator):
    """A small BigGAN with two sites per block and an image head after the last block; subclasses name their weights.

    Args:
        network: the trained network.
        digest: SHA-256 of the weights.
        truncation: truncation of the latents, in (0, 1].

    Attributes:
        weights: file of the trained network among the bundled files.
    """

    weights: ClassVar[str]
    sites_per_block = 2
    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, network: SmallBigGANNetwork, digest: str, truncation: float = 1.0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        self.truncation = truncation
        self.z_dim = network.architecture.z_dim
        self.embed_dim = network.architecture.embed_dim
        self.image_size = network.architecture.image_size
        self.image_channels = network.architecture.image_channels
        self.norms = nn.ModuleList(self._site_norm(norm) for norm in network.conditional_norms())
        self.convolutions = nn.ModuleList()
        for block in network.generator_blocks():
            first_type = UpsamplingConvolution if block.upsample else SiteConvolution
            self.convolutions.extend([first_type(block.conv1), SiteConvolution(block.conv2)])
        scale, shift = scale_and_shift_of(network.norm)
        self.register_buffer("output_scale", scale)
        self.register_buffer("output_shift", shift)
        self.to_image = PlaneConvolution(network.to_image)
        self.sites = _describe_sites(network)

    @classmethod
    def bundled(cls, request: GeneratorRequest) -> Self:
        """Load the trained model that ships with the package; its weights are checked by SHA-256."""
        request.require_no_weights()
        path = assets.verified(cls.weights)
        with safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["architecture"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = {key: tuple(value) if isinstance(value, list) else value for key, value in description.items()}
        network = SmallBigGANNetwork(Architecture(**description))
        network.load_state_dict(tensors)
        digest = assets.recorded_digest(cls.weights)
        return cls(network.to(memory_format=torch.channels_last), digest, request.truncation)

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""
        return self.network.embedding(class_ids)  # type: ignore[no-any-return]

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:  # noqa: ARG002
        """Compute the first feature map, which depends only on the latents."""
        return self.network.stem(z).contiguous(memory_format=torch.channels_last)

    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """Apply the block's 1 x 1 convolution."""
        return self.network.generator_blocks()[block].skip(x)  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        """Compute images ``[n, image_channels, H, W]`` in [-1, 1] from the last feature map."""
        return torch.tanh(self.to_image(self.activate(x, self.output_scale, self.output_shift, owned=True)))

    def _site_norm(self, norm: ClassConditionalBatchNorm) -> SiteNorm:
        statistics = norm.normalise
        assert statistics.running_mean is not None and statistics.running_var is not None
        latent = slice(0, self.z_dim)
        embedding = slice(self.z_dim, self.z_dim + self.embed_dim)
        modulation = modulation_of_condition(norm.gain.weight, norm.offset.weight, latent, embedding, self.z_dim)
        return SiteNorm(modulation, statistics.running_mean, statistics.running_var, statistics.eps)


def _describe_sites(network: SmallBigGANNetwork) -> tuple[Site, ...]:
    sites: list[Site] = []
    resolution = network.architecture.base_resolution
    for number, block in enumerate(network.generator_blocks()):
        for norm, convolution in (("norm1", block.conv1), ("norm2", block.conv2)):
            every_output = torch.ones(convolution.out_channels, dtype=torch.bool)
            inert = inert_channels(reaching(convolution.weight, every_output))
            sites.append(Site(len(sites), f"blocks.{number}.{norm}", convolution.in_channels, resolution, inert))
            if block.upsample and norm == "norm1":
                resolution *= 2
    return tuple(sites)


class FashionBigGAN(SmallBigGAN):
    """``fashion-biggan``: ten kinds of garments, 28 x 28 grey, trained on Fashion-MNIST."""

    name = "fashion-biggan"
    weights = "fashion_biggan.safetensors"
    classes = ClassTable(FASHION_CLASS_NAMES)


class ScenesBigGAN(SmallBigGAN):
    """``scenes-biggan``: the 30 classes of the procedural world ``scenes``, 32 x 32 in colour."""

    name = "scenes-biggan"
    weights = "scenes_biggan.safetensors"
    classes = ClassTable(SCENES_CLASS_NAMES)


SCENES_ARCHITECTURE = Architecture(
    n_classes=len(SCENES_CLASS_NAMES),
    base_resolution=4,
    widths=(128, 128, 96, 64, 48),
    upsample=(True, True, True, False),
    image_channels=3,
)
"""Sizes of ``scenes-biggan``: eight sites, from 4 to 32 pixels."""
