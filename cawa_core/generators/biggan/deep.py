"""``biggan-deep-128``, ``-256``, ``-512``: the network of pytorch-pretrained-biggan as a sequence of sites.

Each block has four sites (Brock et al. 2019, Appendix B); every site and the first linear layer get the whole
``[z, e]``. The authors recorded batch norm statistics for 51 truncations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from pytorch_pretrained_biggan.model import BigGAN as PackageBigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn

from cawa_core.digests import digest_of_data, digest_of_file
from cawa_core.errors import InputError
from cawa_core.generators.base import Site
from cawa_core.generators.biggan.attention import attend
from cawa_core.generators.biggan.deep_config import read_config
from cawa_core.generators.biggan.residual import (
    ResidualGenerator,
    SiteNorm,
    inert_channels,
    modulation_of_condition,
    reaching,
)
from cawa_core.generators.biggan.site_convolution import PlaneConvolution, SiteConvolution, UpsamplingConvolution
from cawa_core.generators.class_tables import classes_of_model
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import load_strictly, read_checkpoint, require_fit, without_prefix

WEIGHTS = "pytorch_model.bin"
CONFIG = "config.json"
NORM_SUFFIXES = (".weight_orig", ".weight_u", ".weight_v")
"""Names of the raw weight of a spectral norm and of its singular vectors."""
ON_GRID = 1e-6
"""Largest distance, in steps, at which a truncation counts as a recorded one."""


class BigGANDeep(ResidualGenerator):
    """BigGAN-deep with sites ``bn_0`` to ``bn_3`` in each block; self-attention belongs to the block before it.

    Args:
        network: network of pytorch-pretrained-biggan, without spectral norms.
        name: name in the registry.
        digest: SHA-256 of the digests of weights and configuration.
        request: source of the truncation and of the method for its statistics.
    """

    sites_per_block = 4
    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, network: PackageBigGAN, name: str, digest: str, request: GeneratorRequest) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.name = name
        self.digest = digest
        self.truncation = request.truncation
        config = network.config
        self.z_dim = config.z_dim
        self.embed_dim = network.embeddings.out_features
        self.image_size = config.output_dim
        self.classes = classes_of_model(config.num_classes)
        self.statistics = functools.partial(
            statistics_at, truncation=request.truncation, method=request.truncation_statistics
        )
        layers = list(network.generator.layers)
        self.blocks = [layer for layer in layers if isinstance(layer, GenBlock)]
        self.attention_after = {
            layer: following for layer, following in pairwise(layers) if isinstance(following, SelfAttn)
        }
        self.norms = nn.ModuleList(self._site_norm(norm) for block in self.blocks for norm in _conditional_norms(block))
        self.convolutions = nn.ModuleList(conv for block in self.blocks for conv in _convolutions(block))
        scale, shift = self._output_scale_and_shift()
        self.register_buffer("output_scale", scale)
        self.register_buffer("output_shift", shift)
        self.to_image = PlaneConvolution(_rgb_convolution(network.generator.conv_to_rgb))
        self.sites = _describe_sites(network)

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return class embeddings: int64 ``[n]`` => ``[n, embed_dim]``."""
        return self.network.embeddings.weight.T[class_ids]  # type: ignore[no-any-return]

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Compute the first feature map ``[n, 16 · ch, 4, 4]``; the linear layer's output has channels last."""
        flat = self.network.generator.gen_z(torch.cat([z, embedding], dim=1))
        return flat.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """Return the first half of the channels if the block narrows, else all."""
        return x[:, : x.shape[1] // 2] if self.blocks[block].drop_channels else x

    def after_block(self, block: int, x: Tensor) -> Tensor:
        """Apply the attention after a block, if there is one."""
        layer = self.attention_after.get(self.blocks[block])
        if layer is None:
            return x
        mixed = attend(layer.snconv1x1_theta(x), layer.snconv1x1_phi(x), layer.snconv1x1_g(x))
        result: Tensor = x + layer.gamma * layer.snconv1x1_o_conv(mixed)
        return result

    def head(self, x: Tensor) -> Tensor:
        """Compute images ``[n, 3, side, side]`` in [-1, 1]: batch norm, ReLU and three planes of ``conv_to_rgb``."""
        return self.to_image(self.activate(x, self.output_scale, self.output_shift, owned=True)).tanh_()  # type: ignore[no-any-return]

    def _output_scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift of the last batch norm, ``[1, C]`` each."""
        norm = self.network.generator.bn
        scale = torch.rsqrt(self.statistics(norm.running_vars) + norm.eps) * norm.weight.detach()
        return scale[None], (norm.bias.detach() - scale * self.statistics(norm.running_means))[None]

    def _site_norm(self, norm: BigGANBatchNorm) -> SiteNorm:
        latent = slice(0, self.z_dim)
        embedding = slice(self.z_dim, self.z_dim + self.embed_dim)
        modulation = modulation_of_condition(norm.scale.weight, norm.offset.weight, latent, embedding, self.z_dim)
        return SiteNorm(modulation, self.statistics(norm.running_means), self.statistics(norm.running_vars), norm.eps)


def load_biggan_deep(request: GeneratorRequest) -> BigGANDeep:
    """Load BigGAN-deep from a folder with ``pytorch_model.bin`` and ``config.json``, or from the cache.

    Raises:
        InputError: files are missing, damaged or of another model.
    """
    files = request.weights.files(request.name, (WEIGHTS, CONFIG))
    config = read_config(files[CONFIG])
    expected = int(request.name.rsplit("-", 1)[1])
    if config.output_dim != expected:
        raise InputError(
            f"weights of {request.name} must be for {expected} pixels; {files[CONFIG]} says {config.output_dim}, "
            f"use --generator biggan-deep-{config.output_dim}"
        )
    with torch.device("meta"):
        network = PackageBigGAN(config)
        remove_spectral_norms(network)
    source = str(files[WEIGHTS])
    checkpoint = read_checkpoint(files[WEIGHTS])
    tensors = without_prefix(checkpoint.tensors, ("generator.gen_z.bias",))
    require_fit(network, forms_of_effective(tensors), source)
    load_strictly(network, effective_tensors(tensors, source), source, assign=True)
    digest = digest_of_data([checkpoint.identity(files[WEIGHTS]), digest_of_file(files[CONFIG])])
    generator = BigGANDeep(network, request.name, digest, request)
    generator.description = checkpoint.describe_key(files[WEIGHTS])
    return generator


def statistics_at(table: Tensor, truncation: float, method: str = "interpolated") -> Tensor:
    """Return the batch norm statistics for a truncation, given those recorded at equal steps from 0 to 1.

    Args:
        table: one row per recorded truncation ``[n_stats, C]``.
        truncation: truncation in (0, 1].
        method: ``interpolated`` is linear, and returns recorded statistics within 1e-6 of their truncation.
            ``package`` reproduces pytorch-pretrained-biggan 0.1.1, which swaps the weights of the two neighbours and,
            by rounding, is one step off for some recorded truncations.

    Raises:
        InputError: ``truncation`` is out of range.
    """
    if not 0 < truncation <= 1:
        raise InputError(f"truncation must be in (0, 1]; got {truncation}")
    steps = len(table) - 1
    if method == "package":
        share, start = math.modf(truncation / (1.0 / steps))
        below = int(start)
        return table[below] if share == 0 else table[below] * share + table[min(below + 1, steps)] * (1 - share)
    position = truncation * steps
    if abs(position - round(position)) < ON_GRID:
        return table[round(position)]
    below = math.floor(position)
    return torch.lerp(table[below], table[below + 1], position - below)


def remove_spectral_norms(network: nn.Module) -> None:
    """Replace every spectrally normalised weight by a plain parameter."""
    for module in network.modules():
        if hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
            module._load_state_dict_pre_hooks.clear()  # torch leaves a hook there that requires weight_orig


def forms_of_effective(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the names, shapes and types of :func:`effective_tensors`, without reading a value."""
    forms = {name: tensor for name, tensor in tensors.items() if not name.endswith(NORM_SUFFIXES)}
    return forms | {
        name.removesuffix("_orig"): tensor for name, tensor in tensors.items() if name.endswith(".weight_orig")
    }


def effective_tensors(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Divide each spectrally normalised weight of a checkpoint by its norm, ``W / (uᵀ W v)``.

    This is exact in eval mode, and is done once instead of at every call. Checkpoints of torch before 1.0.1 have no
    v: in these, the ``weight`` beside ``weight_orig`` is the one in use; in others it is stale. All returned tensors
    are copies that do not depend on the file.

    Raises:
        InputError: a raw weight has no singular vectors, or ones of another shape, or its norm is 0 or not finite.
    """
    result = {name: tensor.clone() for name, tensor in tensors.items() if not name.endswith(NORM_SUFFIXES)}
    for name in [key.removesuffix("_orig") for key in tensors if key.endswith(".weight_orig")]:
        if f"{name}_v" not in tensors and name in tensors:
            continue
        raw = tensors[f"{name}_orig"].float()
        u, v = (_singular_vector(tensors, name, part, source) for part in ("u", "v"))
        norm = torch.dot(u, raw.flatten(1) @ v)
        if not 0 < abs(norm) < torch.inf:
            raise InputError(
                f"weights: {source}: the spectral norm of {name}_orig must be finite and not 0; got {norm:g}"
            )
        result[name] = raw / norm
    return result


def _singular_vector(tensors: Mapping[str, Tensor], name: str, part: str, source: str) -> Tensor:
    """Return ``weight_u [C_out]`` or ``weight_v [C_in · k · k]`` of a raw weight, in float32."""
    raw = tensors[f"{name}_orig"]
    if f"{name}_{part}" not in tensors:
        raise InputError(f"weights: {source} must hold {name}_{part} beside {name}_orig; save the model again")
    vector = tensors[f"{name}_{part}"]
    expected = [raw.shape[0] if part == "u" else raw[:1].numel()]
    if list(vector.shape) != expected or not vector.is_floating_point():
        raise InputError(
            f"weights: {source}: {name}_{part} must be numbers of the shape {expected}, as {name}_orig is "
            f"{list(raw.shape)}; got {vector.dtype} {list(vector.shape)}; pass undamaged --weights"
        )
    return vector.float()


def _conditional_norms(block: GenBlock) -> tuple[BigGANBatchNorm, ...]:
    return block.bn_0, block.bn_1, block.bn_2, block.bn_3


def _rgb_convolution(convolution: nn.Conv2d) -> nn.Conv2d:
    """Return the three planes of ``conv_to_rgb`` that make the images."""
    module = nn.Conv2d(convolution.in_channels, 3, 3, padding=1, device="meta")
    assert convolution.bias is not None
    module.weight = nn.Parameter(convolution.weight[:3].detach(), requires_grad=False)
    module.bias = nn.Parameter(convolution.bias[:3].detach(), requires_grad=False)
    return module


def _convolutions(block: GenBlock) -> tuple[SiteConvolution, ...]:
    """Return the convolution after each site; the block upsamples between its second site and second convolution."""
    second_type = UpsamplingConvolution if block.up_sample else SiteConvolution
    return (
        SiteConvolution(block.conv_0),
        second_type(block.conv_1),
        SiteConvolution(block.conv_2),
        SiteConvolution(block.conv_3),
    )


def _describe_sites(network: PackageBigGAN) -> tuple[Site, ...]:
    reaching_channels = _reaching_channels(network)
    sites: list[Site] = []
    resolution = 4
    for number, block in enumerate(network.generator.layers):
        if not isinstance(block, GenBlock):
            continue
        for index, norm in enumerate(_conditional_norms(block)):
            if block.up_sample and index == 2:
                resolution *= 2
            inert = inert_channels(reaching_channels[len(sites)])
            name = f"generator.layers.{number}.bn_{index}"
            sites.append(Site(len(sites), name, norm.num_features, resolution, inert))
    return tuple(sites)


def _reaching_channels(network: PackageBigGAN) -> list[Tensor]:
    """Return for each site which channels can reach the three image planes, by walking back from them."""
    generator = network.generator
    planes = torch.zeros(generator.conv_to_rgb.out_channels, dtype=torch.bool)
    planes[:3] = True
    output = reaching(generator.conv_to_rgb.weight, planes) & (generator.bn.weight != 0)
    sites: list[Tensor] = []
    for layer in reversed(list(generator.layers)):
        if isinstance(layer, SelfAttn):
            output = _before_attention(layer, output)
            continue
        channels = output
        for convolution in (layer.conv_3, layer.conv_2, layer.conv_1, layer.conv_0):
            channels = reaching(convolution.weight, channels)
            sites.append(channels)
        shortcut = torch.zeros(layer.conv_0.in_channels, dtype=torch.bool)
        shortcut[: len(output)] = output
        output = channels | shortcut
    return sites[::-1]


def _before_attention(layer: Any, output: Tensor) -> Tensor:  # noqa: ANN401
    """Return which input channels of ``x + γ · o(attention)`` reach the image, given the output channels that do.

    If γ is 0, these are the same channels; otherwise, channels that any of the three maps reads reach it, too.
    """
    if layer.gamma.item() == 0 or not reaching(layer.snconv1x1_o_conv.weight, output).any():
        return output
    values = reaching(layer.snconv1x1_g.weight, reaching(layer.snconv1x1_o_conv.weight, output))
    channels: Tensor = output | values
    for convolution in (layer.snconv1x1_theta, layer.snconv1x1_phi):
        channels = channels | (convolution.weight != 0).flatten(1).any(dim=0)
    return channels
