"""``fashion-biggan``: the bundled generator, trained on Fashion-MNIST, as a sequence of sites."""

from __future__ import annotations

import json

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
from cawa_core.generators.fashion.network import (
    ClassConditionalBatchNorm,
    FashionArchitecture,
    FashionNetwork,
    GeneratorBlock,
)
from cawa_core.generators.request import GeneratorRequest
from cawa_core.real_images.fashion import CLASS_NAMES

WEIGHTS = "fashion_biggan.safetensors"


class FashionBigGAN(ResidualGenerator):
    """The bundled generator, with two sites per block and an image head after the last block.

    Args:
        network: the trained network.
        digest: SHA-256 of the weights.
        truncation: truncation of the latents, in (0, 1].
    """

    name = "fashion-biggan"
    sites_per_block = 2
    classes = ClassTable(CLASS_NAMES)
    image_size = 28
    image_channels = 1
    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, network: FashionNetwork, digest: str, truncation: float = 1.0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        self.truncation = truncation
        self.z_dim = network.architecture.z_dim
        self.embed_dim = network.architecture.embed_dim
        self.norms = nn.ModuleList(self._site_norm(norm) for norm in conditional_norms(network))
        self.convolutions = nn.ModuleList()
        for block in _blocks(network):
            first_type = UpsamplingConvolution if block.upsample else SiteConvolution
            self.convolutions.extend([first_type(block.conv1), SiteConvolution(block.conv2)])
        scale, shift = scale_and_shift_of(network.norm)
        self.register_buffer("output_scale", scale)
        self.register_buffer("output_shift", shift)
        self.to_image = PlaneConvolution(network.to_image)
        self.sites = _describe_sites(network)

    @classmethod
    def bundled(cls, request: GeneratorRequest) -> FashionBigGAN:
        """Load the trained model that ships with the package; its weights are checked by SHA-256."""
        request.require_no_weights()
        path = assets.verified(WEIGHTS)
        with safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["architecture"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = {key: tuple(value) if isinstance(value, list) else value for key, value in description.items()}
        network = FashionNetwork(FashionArchitecture(**description))
        network.load_state_dict(tensors)
        digest = assets.recorded_digest(WEIGHTS)
        return cls(network.to(memory_format=torch.channels_last), digest, request.truncation)

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""
        return self.network.embedding(class_ids)  # type: ignore[no-any-return]

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:  # noqa: ARG002
        """Compute the first feature map, which depends only on the latents."""
        return self.network.stem(z).contiguous(memory_format=torch.channels_last)

    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """Apply the block's 1 x 1 convolution."""
        return _blocks(self.network)[block].skip(x)  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        """Compute images ``[n, 1, 28, 28]`` in [-1, 1] from the last feature map."""
        return torch.tanh(self.to_image(self.activate(x, self.output_scale, self.output_shift, owned=True)))

    def _site_norm(self, norm: ClassConditionalBatchNorm) -> SiteNorm:
        statistics = norm.normalise
        assert statistics.running_mean is not None and statistics.running_var is not None
        latent = slice(0, self.z_dim)
        embedding = slice(self.z_dim, self.z_dim + self.embed_dim)
        modulation = modulation_of_condition(norm.gain.weight, norm.offset.weight, latent, embedding, self.z_dim)
        return SiteNorm(modulation, statistics.running_mean, statistics.running_var, statistics.eps)


def _blocks(network: FashionNetwork) -> list[GeneratorBlock]:
    return list(network.blocks)  # type: ignore[arg-type]


def conditional_norms(network: FashionNetwork) -> list[ClassConditionalBatchNorm]:
    """Return the class-conditional batch norms in forward order."""
    return [norm for block in _blocks(network) for norm in (block.norm1, block.norm2)]


def _describe_sites(network: FashionNetwork) -> tuple[Site, ...]:
    sites: list[Site] = []
    resolution = network.architecture.base_resolution
    for number, block in enumerate(_blocks(network)):
        for norm, convolution in (("norm1", block.conv1), ("norm2", block.conv2)):
            every_output = torch.ones(convolution.out_channels, dtype=torch.bool)
            inert = inert_channels(reaching(convolution.weight, every_output))
            sites.append(Site(len(sites), f"blocks.{number}.{norm}", convolution.in_channels, resolution, inert))
            if block.upsample and norm == "norm1":
                resolution *= 2
    return tuple(sites)
