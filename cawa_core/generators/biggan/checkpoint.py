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
from cawa_core.weights import load_strictly, require_fit, without_prefix

ANY_OF = ("linear.weight", "shared.weight", "blocks.0.0.bn1.gain.weight")
"""Names that show that a checkpoint's names have no prefix."""

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
        tensors = without_prefix(tensors, ANY_OF)
        self.architecture, shapes = self._infer(tensors, source)
        for name, shape in shapes.items():
            _register(self, name, torch.empty(shape, device="meta"))
        require_fit(self, tensors, source, LOGGED_ONLY)
        copies = {name: tensors[name].clone() for name in shapes}
        load_strictly(self, copies, source, assign=True)
        self.flags: SettledFlags = settle(flags, self.architecture, tensors, source)
        self.names = frozenset(shapes)
        self.source = source

    def _infer(self, tensors: Mapping[str, Tensor], source: str) -> tuple[BigGANArchitecture, Shapes]:
        """Return the architecture, and the shapes of its tensors."""
        architecture = infer_architecture(tensors, source)
        return architecture, tensor_shapes(architecture)

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
        effective = (weight / norm).float()
        if not norm > 0 or not effective.isfinite().all():
            raise InputError(f"{self.source}: the spectral norm of '{layer}.weight' must be above 0; got {norm:g}")
        return effective

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
    shapes |= layer_shapes("linear", (widths[0] * architecture.bottom_width**2, architecture.chunk_size), spectral)
    for block, (c_in, c_out) in enumerate(pairwise(widths)):
        shapes |= _block(f"blocks.{block}.0", c_in, c_out, architecture)
        if block in architecture.attention_blocks:
            shapes |= attention_shapes(f"blocks.{block}.1", c_out, spectral)
    shapes |= {"output_layer.0.gain": widths[-1:], "output_layer.0.bias": widths[-1:]}
    shapes |= statistics_shapes("output_layer.0", widths[-1], architecture.batch_norm)
    return shapes | layer_shapes("output_layer.2", (3, widths[-1], 3, 3), spectral)


def _block(name: str, c_in: int, c_out: int, architecture: BigGANArchitecture) -> Shapes:
    spectral = architecture.n_singular_values > 0
    return (
        layer_shapes(f"{name}.conv1", (c_out, c_in, 3, 3), spectral)
        | layer_shapes(f"{name}.conv2", (c_out, c_out, 3, 3), spectral)
        | layer_shapes(f"{name}.conv_sc", (c_out, c_in, 1, 1), spectral)
        | _site(f"{name}.bn1", c_in, architecture)
        | _site(f"{name}.bn2", c_out, architecture)
    )


def attention_shapes(name: str, channels: int, spectral: bool) -> Shapes:
    """Return the shapes of a block of self-attention."""
    keys = channels // 8
    values = channels // 2
    return (
        {f"{name}.gamma": ()}
        | layer_shapes(f"{name}.theta", (keys, channels, 1, 1), spectral, bias=False)
        | layer_shapes(f"{name}.phi", (keys, channels, 1, 1), spectral, bias=False)
        | layer_shapes(f"{name}.g", (values, channels, 1, 1), spectral, bias=False)
        | layer_shapes(f"{name}.o", (channels, values, 1, 1), spectral, bias=False)
    )


def _site(name: str, channels: int, architecture: BigGANArchitecture) -> Shapes:
    if architecture.shared_dim is not None:
        spectral = architecture.n_singular_values > 0
        return site_shapes(name, channels, architecture.condition_dim, architecture.batch_norm, spectral)
    tables: Shapes = {f"{name}.{part}.weight": (architecture.n_classes, channels) for part in ("gain", "bias")}
    return tables | statistics_shapes(name, channels, architecture.batch_norm)


def site_shapes(name: str, channels: int, condition_dim: int, batch_norm: str, spectral: bool) -> Shapes:
    """Return the shapes of a class-conditional batch norm with a linear gain and offset."""
    shapes = statistics_shapes(name, channels, batch_norm)
    for part in ("gain", "bias"):
        shapes |= layer_shapes(f"{name}.{part}", (channels, condition_dim), spectral, bias=False)
    return shapes


def statistics_shapes(name: str, channels: int, batch_norm: str) -> Shapes:
    """Return the shapes of the statistics of a batch norm of some kind."""
    shapes: Shapes = {f"{name}.{statistic}": (channels,) for statistic in BATCH_NORMS[batch_norm]}
    if batch_norm == "mybn":
        shapes[f"{name}.bn.accumulation_counter"] = (1,)
    return shapes


def layer_shapes(name: str, weight: tuple[int, ...], spectral: bool, *, bias: bool = True) -> Shapes:
    """Return the shapes of a linear layer or a convolution."""
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
