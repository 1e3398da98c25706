"""BigGAN-deep from a checkpoint of https://github.com/ajbrock/BigGAN-PyTorch (commit 9845943, ``--model BigGANdeep``).

The network is that of pytorch-pretrained-biggan with other names, with the condition ``[e, z]`` in place of
``[z, e]``, with the first feature map in the order channels, height, width, and with one set of statistics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import pairwise

import torch
from pytorch_pretrained_biggan.config import BigGANConfig
from pytorch_pretrained_biggan.model import BigGAN as PackageBigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn

from cawa_core.errors import InputError
from cawa_core.generators.biggan.architecture import attention_blocks, kind_of_batch_norm, numbers_in, shape_of
from cawa_core.generators.biggan.checkpoint import (
    BigGANCheckpoint,
    Shapes,
    attention_shapes,
    layer_shapes,
    site_shapes,
    statistics_shapes,
)
from cawa_core.generators.biggan.deep import remove_spectral_norms
from cawa_core.generators.biggan.flags import OUTPUT_EPS
from cawa_core.weights import load_strictly

DEEP_WIDTHS = {
    3: (4, 4, 4, 4),
    4: (16, 16, 8, 4, 2),
    5: (16, 16, 8, 4, 2, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
}
"""Channels before, between and after the stages, in units of ch, by the number of stages, which double the side."""
SITES = 4
REDUCTION = 4
"""Channels of a block per channel inside it."""
FIRST_SIDE = 4


@dataclasses.dataclass(frozen=True)
class DeepArchitecture:
    """Architecture of the network, as far as the tensors of a checkpoint determine it.

    Attributes:
        ch: width multiplier.
        n_stages: number of stages, each of which doubles the resolution in its last block.
        depth: blocks per stage.
        n_classes, shared_dim, z_dim: numbers of classes, and sizes of embedding and latent code.
        attention_blocks: blocks followed by self-attention.
        batch_norm, n_singular_values: see :class:`~cawa_core.generators.biggan.architecture.BigGANArchitecture`.
    """

    ch: int
    n_stages: int
    depth: int
    n_classes: int
    shared_dim: int
    z_dim: int
    attention_blocks: tuple[int, ...]
    batch_norm: str
    n_singular_values: int

    @property
    def image_size(self) -> int:
        """Side of the image in pixels."""
        return int(FIRST_SIDE * 2**self.n_stages)

    @property
    def blocks(self) -> list[tuple[bool, int, int]]:
        """Whether each block doubles the resolution, and its channels before and after."""
        stages = pairwise(self.ch * width for width in DEEP_WIDTHS[self.n_stages])
        return [
            (last, c_in, c_out if last else c_in)
            for c_in, c_out in stages
            for last in [block == self.depth - 1 for block in range(self.depth)]
        ]

    def describe(self) -> str:
        """Describe the architecture in one line."""
        attention = ", ".join(map(str, self.attention_blocks))
        parts = [
            f"BigGAN-deep {self.image_size} px",
            f"ch {self.ch}",
            f"{self.depth} blocks per resolution",
            f"{self.n_classes} classes",
            f"z {self.z_dim}",
            f"shared embedding {self.shared_dim}",
            f"attention after blocks {attention}" if attention else "no attention",
            f"{self.batch_norm} batch norm",
            "spectral norm" if self.n_singular_values else "no spectral norm",
        ]
        return ", ".join(parts)


class DeepCheckpoint(BigGANCheckpoint):
    """A complete checkpoint of a BigGAN-deep; every tensor has the same name as in the file."""

    architecture: DeepArchitecture  # type: ignore[assignment]

    def _infer(self, tensors: Mapping[str, Tensor], source: str) -> tuple[DeepArchitecture, Shapes]:  # type: ignore[override]
        architecture = infer_deep_architecture(tensors, source)
        return architecture, deep_tensor_shapes(architecture)


def is_deep(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors are those of BigGAN-PyTorch's BigGAN-deep, whose blocks have four convolutions."""
    return "blocks.0.0.conv4.weight" in tensors


def infer_deep_architecture(tensors: Mapping[str, Tensor], source: str) -> DeepArchitecture:
    """Infer the architecture of a checkpoint from the few tensors that determine it.

    Raises:
        InputError: a tensor that determines the architecture is missing or misshapen, or no such model has its sizes.
    """
    n_blocks = 1 + max(numbers_in(r"blocks\.(\d+)\.0\.conv1\.weight$", tensors), default=-1)
    widths = [shape_of(tensors, f"blocks.{block}.0.conv1.weight", 4, source)[1] for block in range(min(n_blocks, 100))]
    widths.append(shape_of(tensors, "output_layer.2.weight", 4, source)[1])
    n_classes, shared_dim = shape_of(tensors, "shared.weight", 2, source)
    rows, condition_dim = shape_of(tensors, "linear.weight", 2, source)
    for n_stages, units in DEEP_WIDTHS.items():
        architecture = DeepArchitecture(
            ch=widths[-1] // units[-1],
            n_stages=n_stages,
            depth=n_blocks // n_stages,
            n_classes=n_classes,
            shared_dim=shared_dim,
            z_dim=condition_dim - shared_dim,
            attention_blocks=attention_blocks(tensors),
            batch_norm=kind_of_batch_norm(tensors, source),
            n_singular_values=1 + max(numbers_in(r".*\.u(\d+)$", tensors), default=-1),
        )
        expected = [*(c_in for _, c_in, _ in architecture.blocks), units[-1] * architecture.ch]
        if architecture.z_dim > 0 and expected == widths and rows == widths[0] * FIRST_SIDE**2:
            return architecture
    raise InputError(
        f"{source} must be a BigGAN-deep of 32 to 256 pixels with --hier and a first feature map of 4 x 4; its blocks "
        f"have {widths} channels, 'linear.weight' is {[rows, condition_dim]} and 'shared.weight' "
        f"{[n_classes, shared_dim]}: wrap your network as a generator of your own, see docs/own_generator.md"
    )


def deep_tensor_shapes(architecture: DeepArchitecture) -> Shapes:
    """Return the shapes, by name, of all tensors that the forward pass uses."""
    spectral = architecture.n_singular_values > 0
    condition_dim = architecture.shared_dim + architecture.z_dim
    blocks = architecture.blocks
    shapes: Shapes = {"shared.weight": (architecture.n_classes, architecture.shared_dim)}
    shapes |= layer_shapes("linear", (blocks[0][1] * FIRST_SIDE**2, condition_dim), spectral)
    for block, (_, c_in, c_out) in enumerate(blocks):
        inside = c_in // REDUCTION
        name = f"blocks.{block}.0"
        weights = ((inside, c_in, 1, 1), (inside, inside, 3, 3), (inside, inside, 3, 3), (c_out, inside, 1, 1))
        for number, weight in enumerate(weights, start=1):
            shapes |= layer_shapes(f"{name}.conv{number}", weight, spectral)
            shapes |= site_shapes(f"{name}.bn{number}", weight[1], condition_dim, architecture.batch_norm, spectral)
        if block in architecture.attention_blocks:
            shapes |= attention_shapes(f"blocks.{block}.1", c_out, spectral)
    last = blocks[-1][2]
    shapes |= {"output_layer.0.gain": (last,), "output_layer.0.bias": (last,)}
    shapes |= statistics_shapes("output_layer.0", last, architecture.batch_norm)
    return shapes | layer_shapes("output_layer.2", (3, last, 3, 3), spectral)


def network_of(checkpoint: DeepCheckpoint) -> PackageBigGAN:
    """Build pytorch-pretrained-biggan's network, without spectral norms, with the weights of a checkpoint."""
    with torch.device("meta"):
        network = _empty_network(checkpoint.architecture, checkpoint.flags.batch_norm_eps)
        remove_spectral_norms(network)
    load_strictly(network, _package_tensors(checkpoint), checkpoint.source, assign=True)
    return network


def _empty_network(architecture: DeepArchitecture, eps: float) -> PackageBigGAN:
    last = architecture.blocks[-1][2]
    condition_dim = architecture.z_dim + architecture.shared_dim
    config = BigGANConfig(
        output_dim=architecture.image_size, z_dim=architecture.z_dim, channel_width=last,
        num_classes=architecture.n_classes, layers=[], n_stats=2, eps=eps,
    )  # fmt: skip
    network = PackageBigGAN(config)
    network.embeddings = nn.Linear(architecture.n_classes, architecture.shared_dim, bias=False)
    generator = network.generator
    generator.gen_z = nn.Linear(condition_dim, FIRST_SIDE**2 * architecture.blocks[0][1])
    generator.bn = BigGANBatchNorm(last, n_stats=2, eps=OUTPUT_EPS, conditional=False)
    generator.conv_to_rgb = nn.Conv2d(last, 3, 3, padding=1)
    for block, (upsamples, c_in, c_out) in enumerate(architecture.blocks):
        generator.layers.append(GenBlock(c_in, c_out, condition_dim, up_sample=upsamples, n_stats=2, eps=eps))
        if block in architecture.attention_blocks:
            generator.layers.append(SelfAttn(c_out))
    return network


def _package_tensors(checkpoint: DeepCheckpoint) -> dict[str, Tensor]:
    """Return the weights in evaluation under the names of pytorch-pretrained-biggan."""
    shape = checkpoint.architecture
    first = checkpoint.weight("linear").unflatten(0, (-1, FIRST_SIDE, FIRST_SIDE)).permute(1, 2, 0, 3).flatten(0, 2)
    bias = checkpoint.tensor("linear.bias").unflatten(0, (-1, FIRST_SIDE, FIRST_SIDE)).permute(1, 2, 0).flatten()
    gain, offset = checkpoint.output_gain_and_offset()
    tensors = {
        "embeddings.weight": checkpoint.tensor("shared.weight").T.contiguous(),
        "generator.gen_z.weight": _latents_first(first, shape),
        "generator.gen_z.bias": bias,
        "generator.bn.weight": gain,
        "generator.bn.bias": offset,
        **_statistics_tensors(checkpoint, "output_layer.0", "generator.bn"),
        **_convolution_tensors(checkpoint, "output_layer.2", "generator.conv_to_rgb"),
    }
    layer = 0
    for block in range(len(shape.blocks)):
        for site in range(SITES):
            target = f"generator.layers.{layer}"
            tensors |= _convolution_tensors(checkpoint, f"blocks.{block}.0.conv{site + 1}", f"{target}.conv_{site}")
            tensors |= _site_tensors(checkpoint, f"blocks.{block}.0.bn{site + 1}", f"{target}.bn_{site}")
        layer += 1
        if block in shape.attention_blocks:
            tensors |= _attention_tensors(checkpoint, f"blocks.{block}.1", f"generator.layers.{layer}")
            layer += 1
    return tensors


def _site_tensors(checkpoint: DeepCheckpoint, name: str, target: str) -> dict[str, Tensor]:
    gain, offset = (
        _latents_first(checkpoint.weight(f"{name}.{part}"), checkpoint.architecture) for part in ("gain", "bias")
    )
    tensors = _statistics_tensors(checkpoint, name, target)
    if checkpoint.flags.gains_are_added:
        # The gain 1 + W_γ c is added instead of multiplied; its 1 is a mean that is smaller by one deviation.
        deviation = (tensors[f"{target}.running_vars"] + checkpoint.flags.batch_norm_eps).sqrt()
        tensors[f"{target}.running_means"] = tensors[f"{target}.running_means"] - deviation
        offset = gain + offset
        gain = torch.zeros_like(gain)
    return tensors | {f"{target}.scale.weight": gain, f"{target}.offset.weight": offset}


def _statistics_tensors(checkpoint: DeepCheckpoint, name: str, target: str) -> dict[str, Tensor]:
    """Return the statistics as those of truncations 0 and 1, which makes them those of every truncation."""
    mean, variance = checkpoint.statistics(name)
    return {f"{target}.running_means": mean.repeat(2, 1), f"{target}.running_vars": variance.repeat(2, 1)}


def _convolution_tensors(checkpoint: DeepCheckpoint, name: str, target: str) -> dict[str, Tensor]:
    return {f"{target}.weight": checkpoint.weight(name), f"{target}.bias": checkpoint.tensor(f"{name}.bias")}


def _attention_tensors(checkpoint: DeepCheckpoint, name: str, target: str) -> dict[str, Tensor]:
    layers = {"theta": "theta", "phi": "phi", "g": "g", "o": "o_conv"}
    weights = {f"{target}.snconv1x1_{new}.weight": checkpoint.weight(f"{name}.{old}") for old, new in layers.items()}
    return weights | {f"{target}.gamma": checkpoint.tensor(f"{name}.gamma").reshape(1)}


def _latents_first(weight: Tensor, architecture: DeepArchitecture) -> Tensor:
    """Move the columns of the latents before those of the embedding."""
    return torch.cat([weight[:, architecture.shared_dim :], weight[:, : architecture.shared_dim]], dim=1)
