"""Tensors of an original BigGAN's checkpoint: names, shapes, and the values as used in evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.generators.biggan.architecture import BATCH_NORMS, BigGANArchitecture, infer_architecture
from cawa_core.generators.biggan.flags import SettledFlags, TrainingFlags, settle
from cawa_core.weights import load_strictly

PARALLEL_PREFIX = "module."
"""Prefix that ``torch.nn.DataParallel`` adds to every name."""

LOGGED_ONLY = ("*.sv[0-9]*", "*.u[1-9]*", "*.num_batches_tracked")
"""Tensors that the forward pass does not use; only the first singular value divides a weight."""

Shapes = dict[str, tuple[int, ...]]


class BigGANCheckpoint(nn.Module):
    """A complete checkpoint; every tensor has the same name as in the file.

    Args:
        tensors: values by name.
        flags: settings that the file does not record.
        source: source of the tensors, for errors.

    Attributes:
        architecture: architecture of the network.
        flags: settings with all values known.
        names: names of the tensors.

    Raises:
        InputError: a tensor is missing, left over or misshapen, or a setting is unknown.
    """

    def __init__(self, tensors: Mapping[str, Tensor], flags: TrainingFlags, source: str) -> None:
        super().__init__()
        tensors = without_parallel_prefix(tensors)
        self.architecture = infer_architecture(tensors, source)
        shapes = tensor_shapes(self.architecture)
        for name, shape in shapes.items():
            _register(self, name, torch.empty(shape))
        load_strictly(self, tensors, source, LOGGED_ONLY)
        self.flags: SettledFlags = settle(flags, self.architecture, tensors, source)
        self.names = frozenset(shapes)
        self.source = source

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as stored in the file, in float32."""
        return self.get_buffer(name)

    def weight(self, layer: str) -> Tensor:
        """Return the weight of a layer as its forward pass uses it, after spectral normalisation.

        Raises:
            InputError: the spectral norm is 0.
        """
        weight = self.tensor(f"{layer}.weight")
        if f"{layer}.u0" not in self.names:
            return weight
        norm = spectral_norm(weight, self.tensor(f"{layer}.u0"), self.flags.spectral_norm_eps)
        if not norm > 0:
            raise InputError(f"{self.source}: the spectral norm of '{layer}.weight' must be above 0; got {norm:g}")
        return (weight / norm).float()

    def statistics(self, norm: str) -> tuple[Tensor, Tensor]:
        """Return mean and variance ``[C]`` of a batch norm."""
        mean, variance = (self.tensor(f"{norm}.{name}") for name in BATCH_NORMS[self.architecture.batch_norm])
        count = self.tensor(f"{norm}.bn.accumulation_counter") if self.flags.statistics_are_sums else 1
        return mean / count, variance / count

    def output_gain_and_offset(self) -> tuple[Tensor, Tensor]:
        """Return the effective gain and offset of the last batch norm, ``[C]`` each."""
        gain = self.tensor("output_layer.0.gain")
        offset = self.tensor("output_layer.0.bias")
        if self.flags.gains_are_added:
            return torch.ones_like(gain), gain + offset
        return gain, offset


def without_parallel_prefix(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove the prefix ``module.`` if all tensors have it."""
    if not all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        return tensors
    return {name.removeprefix(PARALLEL_PREFIX): values for name, values in tensors.items()}


def spectral_norm(weight: Tensor, u: Tensor, eps: float) -> Tensor:
    """Estimate the largest singular value of a weight by one power iteration, in float64.

    Evaluation always runs exactly one iteration from the stored vector, which it does not update. That vector is far
    from converged if it was averaged along with the weights, so more iterations or the logged value would give
    another result.

    Args:
        weight: ``[C_out, ...]``.
        u: left vector ``[1, C_out]`` of any length.
        eps: smallest norm to divide by.
    """
    matrix = weight.flatten(1).double()
    v = functional.normalize(u.double() @ matrix, eps=eps)
    product = v @ matrix.T
    return (product @ functional.normalize(product, eps=eps).T).squeeze()


def tensor_shapes(architecture: BigGANArchitecture) -> Shapes:
    """Return the shapes, by name, of all tensors that the forward pass uses."""
    widths = architecture.widths
    spectral = architecture.n_singular_values > 0
    shapes: Shapes = {}
    if architecture.shared_dim is not None:
        shapes["shared.weight"] = (architecture.n_classes, architecture.shared_dim)
    shapes |= _layer("linear", (widths[0] * architecture.bottom_width**2, architecture.chunk_size), spectral)
    for block, (c_in, c_out) in enumerate(pairwise(widths)):
        shapes |= _block(f"blocks.{block}.0", c_in, c_out, architecture)
        if block in architecture.attention_blocks:
            shapes |= _attention(f"blocks.{block}.1", c_out, spectral)
    shapes |= {"output_layer.0.gain": widths[-1:], "output_layer.0.bias": widths[-1:]}
    shapes |= _statistics("output_layer.0", widths[-1], architecture)
    return shapes | _layer("output_layer.2", (3, widths[-1], 3, 3), spectral)


def _block(name: str, c_in: int, c_out: int, architecture: BigGANArchitecture) -> Shapes:
    spectral = architecture.n_singular_values > 0
    return (
        _layer(f"{name}.conv1", (c_out, c_in, 3, 3), spectral)
        | _layer(f"{name}.conv2", (c_out, c_out, 3, 3), spectral)
        | _layer(f"{name}.conv_sc", (c_out, c_in, 1, 1), spectral)
        | _site(f"{name}.bn1", c_in, architecture)
        | _site(f"{name}.bn2", c_out, architecture)
    )


def _attention(name: str, channels: int, spectral: bool) -> Shapes:
    keys = channels // 8
    values = channels // 2
    return (
        {f"{name}.gamma": ()}
        | _layer(f"{name}.theta", (keys, channels, 1, 1), spectral, bias=False)
        | _layer(f"{name}.phi", (keys, channels, 1, 1), spectral, bias=False)
        | _layer(f"{name}.g", (values, channels, 1, 1), spectral, bias=False)
        | _layer(f"{name}.o", (channels, values, 1, 1), spectral, bias=False)
    )


def _site(name: str, channels: int, architecture: BigGANArchitecture) -> Shapes:
    shapes = _statistics(name, channels, architecture)
    for part in ("gain", "bias"):
        if architecture.shared_dim is None:
            shapes[f"{name}.{part}.weight"] = (architecture.n_classes, channels)
        else:
            spectral = architecture.n_singular_values > 0
            shapes |= _layer(f"{name}.{part}", (channels, architecture.condition_dim), spectral, bias=False)
    return shapes


def _statistics(name: str, channels: int, architecture: BigGANArchitecture) -> Shapes:
    shapes: Shapes = {f"{name}.{statistic}": (channels,) for statistic in BATCH_NORMS[architecture.batch_norm]}
    if architecture.batch_norm == "mybn":
        shapes[f"{name}.bn.accumulation_counter"] = (1,)
    return shapes


def _layer(name: str, weight: tuple[int, ...], spectral: bool, *, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": weight}
    if bias:
        shapes[f"{name}.bias"] = weight[:1]
    if spectral:
        shapes[f"{name}.u0"] = (1, weight[0])
    return shapes


def _register(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Register a buffer under a dotted name, creating the submodules on its path."""
    *path, attribute = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    module.register_buffer(attribute, tensor)
