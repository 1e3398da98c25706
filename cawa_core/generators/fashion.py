"""``fashion-biggan``: the bundled generator, trained on Fashion-MNIST, seen as a line of sites."""

from __future__ import annotations

import json

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from cawa_core import assets
from cawa_core.generators.base import AffineMap, Generator, Modulation, Site, SiteState
from cawa_core.generators.fashion_network import (
    ClassConditionalBatchNorm,
    FashionArchitecture,
    FashionNetwork,
    GeneratorBlock,
)
from cawa_core.generators.upsampling_convolution import UpsamplingConvolution
from cawa_core.real_images.fashion import CLASS_NAMES

WEIGHTS = "fashion_biggan.safetensors"


class FashionBigGAN(Generator):
    """Two sites a block; what follows the second site of the last block is the image head."""

    name = "fashion-biggan"
    class_names = CLASS_NAMES
    image_size = 28

    def __init__(self, network: FashionNetwork, digest: str) -> None:
        super().__init__()
        self.network, self.digest = network.eval().requires_grad_(False), digest
        shape = network.architecture
        self.z_dim, self.embed_dim = shape.z_dim, shape.embed_dim
        self.norms = _norms(network)
        self.first_halves = nn.ModuleList(
            UpsamplingConvolution(block.conv1) if block.upsample else block.conv1 for block in _blocks(network)
        )
        self.sites = _describe_sites(network)

    @classmethod
    def bundled(cls) -> FashionBigGAN:
        """The trained model that ships with the package, its weights checked by SHA-256."""
        path = assets.verified(WEIGHTS)
        with safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["architecture"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = {key: tuple(value) if isinstance(value, list) else value for key, value in description.items()}
        network = FashionNetwork(FashionArchitecture(**description))
        network.load_state_dict(tensors)
        return cls(network.to(memory_format=torch.channels_last), assets.recorded_digest(WEIGHTS))

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""
        return self.network.embedding(class_ids)  # type: ignore[no-any-return]

    def modulation(self, site: int) -> Modulation:
        """Gain ``1 + W_γ[z, e]`` and offset ``W_β[z, e]`` of a site (paper eq. 1)."""
        norm = self.norms[site]
        gain, offset = norm.gain.weight, norm.offset.weight
        zero = torch.zeros(len(gain), device=gain.device, dtype=gain.dtype)
        return Modulation(self._affine(1 + zero, gain), self._affine(zero, offset))

    def _affine(self, constant: Tensor, weight: Tensor) -> AffineMap:
        return AffineMap(constant, from_class=weight[:, self.z_dim :], from_latent=weight[:, : self.z_dim])

    def begin(self, z: Tensor, embedding: Tensor) -> SiteState:
        """State at site 0 from latents ``[n, z_dim]`` and class embeddings ``[n, embed_dim]``."""
        condition = torch.cat([z, embedding], dim=1)
        scales, shifts = zip(*(_folded_modulation(norm, condition) for norm in self.norms), strict=True)
        x = self.network.stem(z).contiguous(memory_format=torch.channels_last)
        return SiteState(0, _activate(x, scales[0], shifts[0]), x, scales, shifts)

    def next_site(self, state: SiteState) -> SiteState:
        """State at the following site: the block's other half, or the next block."""
        block, site = self._block(state.site), state.site + 1
        if state.site % 2 == 0:
            x, skip = self.first_halves[state.site // 2](state.features), state.skip
        else:
            x = skip = block.second_half(state.features, state.skip)
        features = _activate(x, state.scales[site], state.shifts[site])
        return SiteState(site, features, skip, state.scales, state.shifts)

    def finish(self, state: SiteState) -> Tensor:
        """Images float32 ``[n, 1, 28, 28]`` in [-1, 1] from the state at the last site."""
        return self.network.head(self._block(state.site).second_half(state.features, state.skip)).float()

    def _block(self, site: int) -> GeneratorBlock:
        return self.network.blocks[site // 2]  # type: ignore[return-value]


def _blocks(network: FashionNetwork) -> list[GeneratorBlock]:
    return list(network.blocks)  # type: ignore[arg-type]


def _norms(network: FashionNetwork) -> list[ClassConditionalBatchNorm]:
    return [norm for block in _blocks(network) for norm in (block.norm1, block.norm2)]


def _folded_modulation(norm: ClassConditionalBatchNorm, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Batch norm and modulation as one multiply-add: ``γ(x - μ)/σ + β = scale · x + shift``."""
    statistics = norm.normalise
    assert statistics.running_mean is not None and statistics.running_var is not None
    gain, offset = 1 + norm.gain(condition), norm.offset(condition)
    scale = gain * torch.rsqrt(statistics.running_var + statistics.eps)
    return scale, offset - scale * statistics.running_mean


def _activate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return functional.relu_(torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None]))


def _describe_sites(network: FashionNetwork) -> tuple[Site, ...]:
    sites: list[Site] = []
    resolution = network.architecture.base_resolution
    for number, block in enumerate(_blocks(network)):
        for half, convolution in (("norm1", block.conv1), ("norm2", block.conv2)):
            sites.append(
                Site(
                    len(sites),
                    f"blocks.{number}.{half}",
                    convolution.in_channels,
                    resolution,
                    _inert(convolution.weight),
                )
            )
            resolution *= 2 if block.upsample and half == "norm1" else 1
    return tuple(sites)


def _inert(outgoing: Tensor) -> tuple[int, ...]:
    """Channels whose outgoing weights ``[C_out, C, k, k]`` are all zero: they cannot reach the image."""
    silent = (outgoing == 0).all(dim=3).all(dim=2).all(dim=0)
    return tuple(silent.nonzero().flatten().tolist())
