"""``biggan``: BigGAN, original or deep, as saved by https://github.com/ajbrock/BigGAN-PyTorch (commit 9845943)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cawa_core.digests import digest_of_data
from cawa_core.errors import InputError
from cawa_core.generators.base import Modulation, Site
from cawa_core.generators.biggan.blocks import BigGANBlock, convolution, linear
from cawa_core.generators.biggan.checkpoint import ANY_OF, BigGANCheckpoint
from cawa_core.generators.biggan.deep import BigGANDeep
from cawa_core.generators.biggan.deep_checkpoint import DeepCheckpoint, is_deep, network_of
from cawa_core.generators.biggan.flags import OUTPUT_EPS, TrainingFlags
from cawa_core.generators.biggan.inertness import reaching_at_sites
from cawa_core.generators.biggan.residual import (
    ResidualGenerator,
    SiteNorm,
    inert_channels,
    modulation_of_condition,
)
from cawa_core.generators.biggan.site_convolution import PlaneConvolution
from cawa_core.generators.class_tables import classes_of_model
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import read_checkpoint, without_prefix

HALVES = ("bn1", "bn2")

__all__ = ["BigGAN", "TrainingFlags", "biggan_from_tensors", "load_biggan"]


class BigGAN(ResidualGenerator):
    """The original BigGAN, with two sites per block; each layer gets its own chunk of the latents.

    Args:
        checkpoint: tensors of the network.
        digest: digest of the weights and of the flags that the user set.
        truncation: truncation in (0, 1].

    Attributes:
        architecture: architecture inferred from the tensors.
        description: architecture and flags in one line.
    """

    name = "biggan"
    sites_per_block = 2

    class_vectors: Tensor
    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, checkpoint: BigGANCheckpoint, digest: str, truncation: float = 1.0) -> None:
        super().__init__()
        shape = checkpoint.architecture
        self.architecture = shape
        self.digest = digest
        self.truncation = truncation
        self.description = f"{shape.describe()}, {checkpoint.flags.describe()}"
        self.z_dim = shape.z_dim
        self.embed_dim = shape.embed_dim
        self.image_size = shape.image_size
        self.classes = classes_of_model(shape.n_classes)
        self.sites = describe_sites(checkpoint)
        self.register_buffer("class_vectors", class_vectors(checkpoint))
        self.linear = linear(checkpoint, "linear")
        self.norms = nn.ModuleList(
            _site_norm(checkpoint, block, half) for block in range(shape.n_blocks) for half in HALVES
        )
        self.blocks = nn.ModuleList(BigGANBlock(checkpoint, block) for block in range(shape.n_blocks))
        self.convolutions = nn.ModuleList(
            conv for block in range(shape.n_blocks) for conv in (self._block(block).conv1, self._block(block).conv2)
        )
        scale, shift = output_scale_and_shift(checkpoint)
        self.register_buffer("output_scale", scale)
        self.register_buffer("output_shift", shift)
        self.to_image = PlaneConvolution(convolution(checkpoint, "output_layer.2"))
        self.eval().to(memory_format=torch.channels_last)

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return class embeddings, int64 ``[n]`` => ``[n, embed_dim]``; one-hot without a shared embedding."""
        return self.class_vectors[class_ids]

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:  # noqa: ARG002
        """Compute the first feature map ``[n, C, side, side]`` from the first chunk of the latents."""
        side = self.architecture.bottom_width
        x: Tensor = self.linear(z[:, : self.architecture.chunk_size]).unflatten(1, (-1, side, side))
        return x.contiguous(memory_format=torch.channels_last)

    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """Apply the block's 1 x 1 convolution."""
        return self._block(block).skip(x)  # type: ignore[no-any-return]

    def after_block(self, block: int, x: Tensor) -> Tensor:
        """Apply the attention after a block, if there is one."""
        return self._block(block).attention(x)  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        """Compute images ``[n, 3, H, W]`` in [-1, 1] from the last feature map."""
        return torch.tanh(self.to_image(self.activate(x, self.output_scale, self.output_shift, owned=True)))

    def _block(self, number: int) -> BigGANBlock:
        return self.blocks[number]  # type: ignore[return-value]


def load_biggan(request: GeneratorRequest) -> BigGAN | BigGANDeep:
    """Load the original BigGAN, or BigGAN-PyTorch's BigGAN-deep, from the user's file.

    Raises:
        InputError: no file was given, it does not hold such a model, or it does not tell all that is needed.
    """
    if not request.weights.is_given(BigGAN.name):
        raise InputError("weights of biggan must be given; give --weights PATH, the G_ema or G file of a training run")
    path = request.weights.file(BigGAN.name)
    checkpoint = read_checkpoint(path)
    flags = TrainingFlags.from_metadata(checkpoint.metadata, str(path))
    tensors = checkpoint.tensors
    generator = biggan_from_tensors(tensors, "", flags=flags, truncation=request.truncation, source=str(path))
    generator.digest = _digest(checkpoint.identity(path), flags)  # a large file takes seconds, so last
    file = checkpoint.describe_key(path) or describe_file(path)
    generator.description = f"{generator.description}; {file}"
    return generator


def biggan_from_tensors(
    tensors: Mapping[str, Tensor],
    digest: str,
    *,
    flags: TrainingFlags | None = None,
    truncation: float = 1.0,
    source: str = "tensors",
) -> BigGAN | BigGANDeep:
    """Build the original BigGAN, or BigGAN-PyTorch's BigGAN-deep, from tensors.

    Args:
        tensors: values by name; all names may begin with ``module.``, or what else wrappers add.
        digest: SHA-256 of the file; flags that are set enter the generator's digest, too.
        flags: settings that the file does not record.
        truncation: truncation in (0, 1].
        source: source of the tensors, for errors.

    Raises:
        InputError: the tensors are not those of such a model, or the flags lack a setting that the file does not tell.
    """
    flags = flags or TrainingFlags()
    digest = _digest(digest, flags)
    tensors = without_prefix(tensors, ANY_OF)
    if not is_deep(tensors):
        return BigGAN(BigGANCheckpoint(tensors, flags, source), digest, truncation)
    checkpoint = DeepCheckpoint(tensors, flags, source)
    request = GeneratorRequest(BigGAN.name, truncation=truncation)
    generator = BigGANDeep(network_of(checkpoint), BigGAN.name, digest, request)
    generator.description = f"{checkpoint.architecture.describe()}, {checkpoint.flags.describe()}"
    return generator


def _digest(weights: str, flags: TrainingFlags) -> str:
    return digest_of_data({"weights": weights, "flags": flags.given()}) if flags.given() else weights


def describe_file(path: Path) -> str:
    """Say whether a checkpoint's name indicates a moving average, as its tensors do not tell."""
    if path.name.startswith("G_ema"):
        return f"{path.name} is an average over training steps by its name"
    return f"{path.name} is not named G_ema"


def describe_sites(checkpoint: BigGANCheckpoint) -> tuple[Site, ...]:
    """Describe the sites in forward order, with the channels that cannot reach the image."""
    shape = checkpoint.architecture
    return tuple(
        Site(
            index,
            f"blocks.{index // 2}.{HALVES[index % 2]}",
            channels=len(channels),
            resolution=shape.resolution_after(index // 2 - 1 + index % 2),
            inert_channels=inert_channels(channels),
        )
        for index, channels in enumerate(reaching_at_sites(checkpoint))
    )


def class_vectors(checkpoint: BigGANCheckpoint) -> Tensor:
    """Return each class's vector at the sites, ``[n_classes, embed_dim]``: its shared embedding or a one-hot vector."""
    shape = checkpoint.architecture
    return torch.eye(shape.n_classes) if shape.shared_dim is None else checkpoint.tensor("shared.weight")


def output_scale_and_shift(checkpoint: BigGANCheckpoint) -> tuple[Tensor, Tensor]:
    """Return scale and shift of the last batch norm, ``[1, C]`` each."""
    gain, offset = checkpoint.output_gain_and_offset()
    mean, variance = checkpoint.statistics("output_layer.0")
    scale = gain * torch.rsqrt(variance + OUTPUT_EPS)
    return scale[None], (offset - scale * mean)[None]


def _site_norm(checkpoint: BigGANCheckpoint, block: int, half: str) -> SiteNorm:
    name = f"blocks.{block}.0.{half}"
    gain, offset = (_condition_weight(checkpoint, f"{name}.{part}", block) for part in ("gain", "bias"))
    if checkpoint.flags.gains_are_added:
        offset = gain + offset
        gain = torch.zeros_like(gain)
    shape = checkpoint.architecture
    latent = slice(shape.embed_dim, shape.embed_dim + shape.z_dim)
    modulation = modulation_of_condition(gain, offset, latent, slice(0, shape.embed_dim), shape.z_dim)
    if checkpoint.flags.gains_are_added:
        # The gain 1 + W_γ c is added instead of multiplied, so its 1 belongs to the offset as well.
        constant = modulation.offset.constant + 1
        modulation = Modulation(modulation.gain, dataclasses.replace(modulation.offset, constant=constant))
    return SiteNorm(modulation, *checkpoint.statistics(name), checkpoint.flags.batch_norm_eps)


def _condition_weight(checkpoint: BigGANCheckpoint, layer: str, block: int) -> Tensor:
    """Return the weights of a gain or offset, ``[C, embed_dim + z_dim]``; they are 0 for latents of other blocks."""
    shape = checkpoint.architecture
    weight = checkpoint.weight(layer)
    if shape.shared_dim is None:
        weight = weight.T
    latent = weight.new_zeros(len(weight), shape.z_dim)
    latent[:, shape.latents_of(block)] = weight[:, shape.embed_dim :]
    return torch.cat([weight[:, : shape.embed_dim], latent], dim=1)
