"""Monte Carlo awareness (paper Appendix A), the latent part of the modulation shared between classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cawa_core.awareness.result import Awareness, robust_variance
from cawa_core.generators.base import AffineMap, Modulation

CHANNEL_BLOCK = 256
"""Channels worked on at once: 10,000 latents in float64 then take 20 MB a tensor."""


def monte_carlo_awareness(modulation: Modulation, embeddings: Tensor, z: Tensor) -> Awareness:
    """Estimate the awareness of every channel of a site for several classes.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.
        z: latents ``[n, z_dim]`` from N(0, I), shared between the classes.

    Returns:
        Arrays ``[n_classes, C]``; the standard error is that of the mean over the n latents.
    """
    if len(z) < 2:
        raise ValueError(f"z must hold at least 2 latents for a variance; got {len(z)}")
    blocks = [_block_awareness(block, embeddings.double(), z.double()) for block in _channel_blocks(modulation)]
    columns = [field.name for field in dataclasses.fields(Awareness)]
    return Awareness(**{name: np.concatenate([block[name] for block in blocks], axis=1) for name in columns})


def awareness_of_samples(gain: Tensor, offset: Tensor) -> Awareness:
    """The same statistics for one class from gains and offsets that were sampled elsewhere, ``[n, C]`` each.

    Returns:
        Arrays ``[1, C]``.
    """
    if len(gain) < 2:
        raise ValueError(f"gain must hold at least 2 samples for a variance; got {len(gain)}")
    statistics = _statistics(gain.double(), offset.double())
    return Awareness(**{name: values.cpu().numpy()[None] for name, values in statistics.items()})


def _channel_blocks(modulation: Modulation) -> Iterator[Modulation]:
    for start in range(0, len(modulation.gain.constant), CHANNEL_BLOCK):
        rows = slice(start, start + CHANNEL_BLOCK)
        yield Modulation(_rows(modulation.gain, rows), _rows(modulation.offset, rows))


def _rows(affine: AffineMap, rows: slice) -> AffineMap:
    return AffineMap(affine.constant[rows], affine.from_class[rows], affine.from_latent[rows]).double()


def _block_awareness(modulation: Modulation, embeddings: Tensor, z: Tensor) -> dict[str, np.ndarray]:
    latent_gain, latent_offset = modulation.gain.latent_part(z), modulation.offset.latent_part(z)  # [n, C]
    class_gains, class_offsets = modulation.gain.class_part(embeddings), modulation.offset.class_part(embeddings)
    classes = [
        _statistics(gain + latent_gain, offset + latent_offset)
        for gain, offset in zip(class_gains, class_offsets, strict=True)
    ]
    return {name: np.stack([one[name].cpu().numpy() for one in classes]) for name in classes[0]}


def _statistics(gain: Tensor, offset: Tensor) -> dict[str, Tensor]:
    """Gain and offset ``[n, C]`` of one class => statistics ``[C]``."""
    negative_probe = offset / gain  # -t of eq. 3
    variance, mean = torch.var_mean(negative_probe, dim=0)
    ordered = negative_probe.sort(dim=0).values
    robust = robust_variance(_quantile(ordered, 0.25).cpu().numpy(), _quantile(ordered, 0.75).cpu().numpy())
    spread = gain.abs()
    threshold = offset / spread
    probability = torch.special.ndtr(threshold)
    density = torch.exp(-threshold.square() / 2) / math.sqrt(2 * math.pi)
    return {
        "category_awareness": mean,
        "category_awareness_stderr": (variance / len(gain)).sqrt(),
        "latent_awareness": variance,
        "latent_awareness_robust": torch.from_numpy(robust),
        "gain_sign_probability": (gain <= 0).double().mean(dim=0),
        "activation_probability": probability.mean(dim=0),
        "expected_activation": (offset * probability + spread * density).mean(dim=0),
    }


def _quantile(ordered: Tensor, level: float) -> Tensor:
    """Linear interpolation between order statistics ``[n, C]``; ``torch.quantile`` stops at 2²⁴ elements."""
    position = level * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], position - below)
