"""Channels of an original BigGAN that can reach the image, found by walking back from it."""

from __future__ import annotations

import torch
from torch import Tensor

from cawa_core.generators.biggan.checkpoint import BigGANCheckpoint
from cawa_core.generators.biggan.residual import reaching


def reaching_at_sites(checkpoint: BigGANCheckpoint) -> list[Tensor]:
    """Return for each site, in forward order, which channels reach the image by nonzero weights: bool ``[C]``."""
    gain, _ = checkpoint.output_gain_and_offset()
    to_image = _weight(checkpoint, "output_layer.2")
    output = reaching(to_image, torch.ones(len(to_image), dtype=torch.bool)) & (gain != 0)
    sites: list[Tensor] = []
    for block in reversed(range(checkpoint.architecture.n_blocks)):
        if block in checkpoint.architecture.attention_blocks:
            output = before_attention(checkpoint, f"blocks.{block}.1", output)
        second = reaching(_weight(checkpoint, f"blocks.{block}.0.conv2"), output)
        first = reaching(_weight(checkpoint, f"blocks.{block}.0.conv1"), second)
        output = first | reaching(_weight(checkpoint, f"blocks.{block}.0.conv_sc"), output)
        sites = [first, second, *sites]
    return sites


def before_attention(checkpoint: BigGANCheckpoint, name: str, output: Tensor) -> Tensor:
    """Return which input channels of an attention block reach the image, given which output channels do: bool ``[C]``.

    A channel reaches it directly, through a value that such an output channel reads, or by changing the attention
    weights. The last needs a query and a key of the same index, and a value to attend to.
    """
    if checkpoint.tensor(f"{name}.gamma") == 0:
        return output
    g, theta, phi = (_weight(checkpoint, f"{name}.{layer}") for layer in ("g", "theta", "phi"))
    values = reaching(_weight(checkpoint, f"{name}.o"), output) & _nonzero_rows(g)
    if not values.any():
        return output
    attending = _nonzero_rows(theta) & _nonzero_rows(phi)
    return output | reaching(g, values) | reaching(theta, attending) | reaching(phi, attending)


def _nonzero_rows(weight: Tensor) -> Tensor:
    return (weight != 0).flatten(1).any(dim=1)


def _weight(checkpoint: BigGANCheckpoint, layer: str) -> Tensor:
    """Return a weight as stored in the file; dividing by its spectral norm would not change which entries are zero."""
    return checkpoint.tensor(f"{layer}.weight")
