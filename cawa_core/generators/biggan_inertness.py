"""Which channels of an original BigGAN can reach the image, by walking back from it."""

from __future__ import annotations

import torch
from torch import Tensor

from cawa_core.generators.biggan_checkpoint import BigGANCheckpoint
from cawa_core.generators.residual import reaching


def reaching_at_sites(checkpoint: BigGANCheckpoint) -> list[Tensor]:
    """Per site in forward order, which channels have a path of non-zero weights to the image: bool ``[C]``."""
    gain, _ = checkpoint.output_gain_and_offset()
    to_image = _weight(checkpoint, "output_layer.2")
    reached = reaching(to_image, torch.ones(len(to_image), dtype=torch.bool)) & (gain != 0)
    sites: list[Tensor] = []
    for block in reversed(range(checkpoint.architecture.n_blocks)):
        if block in checkpoint.architecture.attention_blocks:
            reached = before_attention(checkpoint, f"blocks.{block}.1", reached)
        second = reaching(_weight(checkpoint, f"blocks.{block}.0.conv2"), reached)
        first = reaching(_weight(checkpoint, f"blocks.{block}.0.conv1"), second)
        reached = first | reaching(_weight(checkpoint, f"blocks.{block}.0.conv_sc"), reached)
        sites = [first, second, *sites]
    return sites


def before_attention(checkpoint: BigGANCheckpoint, name: str, reached: Tensor) -> Tensor:
    """Input channels of an attention block that reach the image, given the output channels that do: bool ``[C]``.

    A channel passes straight on, through a value that some reached output takes up, or by moving the
    attention, which needs a query and a key of the same index and a value to attend to.
    """
    if checkpoint.tensor(f"{name}.gamma") == 0:
        return reached
    g, theta, phi = (_weight(checkpoint, f"{name}.{layer}") for layer in ("g", "theta", "phi"))
    values = reaching(_weight(checkpoint, f"{name}.o"), reached) & _any_weight(g)
    if not values.any():
        return reached
    attending = _any_weight(theta) & _any_weight(phi)
    return reached | reaching(g, values) | reaching(theta, attending) | reaching(phi, attending)


def _any_weight(weight: Tensor) -> Tensor:
    return (weight != 0).flatten(1).any(dim=1)


def _weight(checkpoint: BigGANCheckpoint, layer: str) -> Tensor:
    """As in the file: a spectral norm divides, and leaves zeros where they are."""
    return checkpoint.tensor(f"{layer}.weight")
