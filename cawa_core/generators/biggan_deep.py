"""``biggan-deep-128``, ``-256``, ``-512``: the module of pytorch-pretrained-biggan, seen as a line of sites.

Four sites a block (Brock et al. 2019, Appendix B); every site and the first linear layer see the whole of
``[z, e]``. Batch norm statistics were recorded by the authors for 51 truncations.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan.config import BigGANConfig
from pytorch_pretrained_biggan.model import BigGAN as PackageBigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn

from cawa_core.class_tables import classes_of_model
from cawa_core.digests import digest_of_data, digest_of_file
from cawa_core.errors import InputError
from cawa_core.generators.attention import attended
from cawa_core.generators.base import Site
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.residual import (
    ResidualGenerator,
    SiteNorm,
    inert_channels,
    modulation_of_condition,
    reaching,
)
from cawa_core.generators.site_convolution import PlaneConvolution, SiteConvolution, UpsamplingConvolution
from cawa_core.weights import load_strictly, load_tensors

WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"
ON_GRID = 1e-6
"""A truncation this near to a recorded one, in units of the step, is that one."""


class BigGANDeep(ResidualGenerator):
    """Sites ``bn_0`` to ``bn_3`` of each block; self-attention belongs to the step into its following block."""

    sites_per_block = 4
    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, network: PackageBigGAN, name: str, digest: str, request: GeneratorRequest) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.name, self.digest, self.truncation = name, digest, request.truncation
        config = network.config
        self.z_dim = self.embed_dim = config.z_dim
        self.image_size = config.output_dim
        self.classes = classes_of_model(config.num_classes)
        self.statistics = functools.partial(
            statistics_at, truncation=request.truncation, method=request.truncation_statistics
        )
        layers = list(network.generator.layers)
        self.blocks = [layer for layer in layers if isinstance(layer, GenBlock)]
        self.attention_after = {one: two for one, two in pairwise(layers) if isinstance(two, SelfAttn)}
        self.norms = nn.ModuleList(self._site_norm(norm) for block in self.blocks for norm in _conditional_norms(block))
        self.convolutions = nn.ModuleList(made for block in self.blocks for made in _convolutions(block))
        scale, shift = self._output_scale_and_shift()
        self.register_buffer("output_scale", scale)
        self.register_buffer("output_shift", shift)
        self.to_image = PlaneConvolution(_three_planes(network.generator.conv_to_rgb))
        self.sites = _describe_sites(network)

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Class embeddings: int64 ``[n]`` => ``[n, 128]``."""
        return self.network.embeddings.weight.T[class_ids]  # type: ignore[no-any-return]

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """First feature map ``[n, 16 · ch, 4, 4]``; its linear layer writes channels last."""
        flat = self.network.generator.gen_z(torch.cat([z, embedding], dim=1))
        return flat.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def shortcut(self, block: int, x: Tensor) -> Tensor:
        """The first half of the channels where the block narrows."""
        return x[:, : x.shape[1] // 2] if self.blocks[block].drop_channels else x

    def after_block(self, block: int, x: Tensor) -> Tensor:
        """The attention after a block, where there is one."""
        layer = self.attention_after.get(self.blocks[block])
        return x if layer is None else _attend(layer, x)

    def head(self, x: Tensor) -> Tensor:
        """Images ``[n, 3, side, side]`` in [-1, 1]: batch norm, ReLU and the three planes of ``conv_to_rgb`` in use."""
        return self.to_image(self.activate(x, self.output_scale, self.output_shift, owned=True)).tanh_()  # type: ignore[no-any-return]

    def _output_scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The last batch norm as one multiply-add: ``[1, C]`` each."""
        norm = self.network.generator.bn
        scale = torch.rsqrt(self.statistics(norm.running_vars) + norm.eps) * norm.weight.detach()
        return scale[None], (norm.bias.detach() - scale * self.statistics(norm.running_means))[None]

    def _site_norm(self, norm: BigGANBatchNorm) -> SiteNorm:
        latent, embedding = slice(0, self.z_dim), slice(self.z_dim, 2 * self.z_dim)
        modulation = modulation_of_condition(norm.scale.weight, norm.offset.weight, latent, embedding, self.z_dim)
        return SiteNorm(modulation, self.statistics(norm.running_means), self.statistics(norm.running_vars), norm.eps)


def load_biggan_deep(request: GeneratorRequest) -> BigGANDeep:
    """Published or own weights: a folder with ``pytorch_model.bin`` and ``config.json``, or the cache.

    Raises:
        InputError: missing, damaged or foreign files, or a configuration of another model.
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
    tensors = effective_tensors(load_tensors(files[WEIGHTS]), files[WEIGHTS])
    load_strictly(network, tensors, str(files[WEIGHTS]), assign=True)
    digest = digest_of_data([digest_of_file(files[WEIGHTS]), digest_of_file(files[CONFIG])])
    return BigGANDeep(network, request.name, digest, request)


def read_config(path: Path) -> BigGANConfig:
    """``config.json`` of a model.

    Raises:
        InputError: it is no JSON object, or has keys that no BigGAN-deep knows, or lacks some.
    """
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"weights: {path} is no JSON: {error}; fetch it again") from None
    known = set(BigGANConfig().__dict__)
    if not isinstance(values, dict) or not {"output_dim", "layers", "channel_width"} <= set(values) <= known:
        raise InputError(f"weights: {path} must hold the keys {', '.join(sorted(known))}; it is of another model")
    config: BigGANConfig = BigGANConfig.from_dict(values)
    return config


def statistics_at(table: Tensor, truncation: float, method: str = "interpolated") -> Tensor:
    """Batch norm statistics for a truncation, from those recorded at equal steps from 0 to 1.

    Args:
        table: one row a recorded truncation ``[n_stats, C]``.
        truncation: in (0, 1].
        method: ``interpolated`` (linear, recorded ones within 1e-6 taken as they are), or ``package``: what
            pytorch-pretrained-biggan 0.1.1 computes, whose weights of the two neighbours are swapped and whose
            rounding sends some recorded truncations one step off.
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
    """Make every spectrally normalised weight a plain one."""
    for module in network.modules():
        if hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
            module._load_state_dict_pre_hooks.clear()  # torch leaves its own there, which asks for weight_orig


def effective_tensors(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint with each spectrally normalised weight divided by its norm, ``W / (uᵀ W v)``.

    Exact in eval mode, and done once instead of at every call. Checkpoints of torch before 1.0.1 have no v: the
    ``weight`` beside ``weight_orig`` is the one in use there, and stale elsewhere. All are copies, none backed by the
    file.

    Raises:
        InputError: a raw weight comes without its singular vectors.
    """
    found = {name: tensor if name.endswith("_orig") else tensor.clone() for name, tensor in tensors.items()}
    for name in [key.removesuffix("_orig") for key in tensors if key.endswith(".weight_orig")]:
        if f"{name}_v" not in found and name in found:
            del found[f"{name}_orig"], found[f"{name}_u"]
            continue
        for part in (f"{name}_u", f"{name}_v"):
            if part not in found:
                raise InputError(f"weights: {source} must hold {part} beside {name}_orig; save the model again")
        raw, u, v = (found.pop(f"{name}{suffix}") for suffix in ("_orig", "_u", "_v"))
        found[name] = raw / torch.dot(u, raw.flatten(1) @ v)
    return found


def _conditional_norms(block: GenBlock) -> tuple[BigGANBatchNorm, ...]:
    return block.bn_0, block.bn_1, block.bn_2, block.bn_3


def _three_planes(convolution: nn.Conv2d) -> nn.Conv2d:
    """The part of ``conv_to_rgb`` that the images see."""
    made: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, convolution.in_channels, 3, 3, padding=1)
    assert convolution.bias is not None
    made.weight = nn.Parameter(convolution.weight[:3].detach(), requires_grad=False)
    made.bias = nn.Parameter(convolution.bias[:3].detach(), requires_grad=False)
    return made


def _convolutions(block: GenBlock) -> tuple[SiteConvolution, ...]:
    """The one after each site; the block doubles between its second site and its second convolution."""
    second = UpsamplingConvolution if block.up_sample else SiteConvolution
    return (
        SiteConvolution(block.conv_0),
        second(block.conv_1),
        SiteConvolution(block.conv_2),
        SiteConvolution(block.conv_3),
    )


def _attend(layer: SelfAttn, x: Tensor) -> Tensor:
    mixed = attended(layer.snconv1x1_theta(x), layer.snconv1x1_phi(x), layer.snconv1x1_g(x))
    result: Tensor = x + layer.gamma * layer.snconv1x1_o_conv(mixed)
    return result


def _describe_sites(network: PackageBigGAN) -> tuple[Site, ...]:
    layers, reached = list(network.generator.layers), _reaching_channels(network)
    sites: list[Site] = []
    resolution = 4
    for number, block in enumerate(layers):
        if not isinstance(block, GenBlock):
            continue
        for half, norm in enumerate(_conditional_norms(block)):
            resolution *= 2 if block.up_sample and half == 2 else 1
            inert = inert_channels(reached[len(sites)])
            name = f"generator.layers.{number}.bn_{half}"
            sites.append(Site(len(sites), name, norm.num_features, resolution, inert))
    return tuple(sites)


def _reaching_channels(network: PackageBigGAN) -> list[Tensor]:
    """For each site which of its channels can reach the three image planes: walked backwards from them."""
    generator = network.generator
    planes = torch.zeros(generator.conv_to_rgb.out_channels, dtype=torch.bool)
    planes[:3] = True
    reached = reaching(generator.conv_to_rgb.weight, planes) & (generator.bn.weight != 0)
    found: list[Tensor] = []
    for layer in reversed(list(generator.layers)):
        if isinstance(layer, SelfAttn):
            reached = _through_attention(layer, reached)
            continue
        after = reached
        for convolution in (layer.conv_3, layer.conv_2, layer.conv_1, layer.conv_0):
            after = reaching(convolution.weight, after)
            found.append(after)
        skipped = torch.zeros(layer.conv_0.in_channels, dtype=torch.bool)
        skipped[: len(reached)] = reached
        reached = after | skipped
    return found[::-1]


def _through_attention(layer: Any, reached: Tensor) -> Tensor:  # noqa: ANN401
    """``x + γ · o(attention)``: with γ = 0 nothing else gets through; otherwise what any of the three maps reads."""
    if layer.gamma.item() == 0 or not reaching(layer.snconv1x1_o_conv.weight, reached).any():
        return reached
    values = reaching(layer.snconv1x1_g.weight, reaching(layer.snconv1x1_o_conv.weight, reached))
    read: Tensor = reached | values
    for one in (layer.snconv1x1_theta, layer.snconv1x1_phi):
        read = read | (one.weight != 0).flatten(1).any(dim=0)
    return read
