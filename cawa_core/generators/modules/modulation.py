"""Measurement of gain and offset as affine maps of latent and class (paper eq. 1), at sites where they are affine."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cawa_core.generators.base import AffineMap, Modulation

Pair = tuple[Tensor, Tensor]
"""Gain and offset of one site, ``[n, C]`` each."""

Read = Callable[[Tensor, Tensor], list[Pair]]
"""Function from latents ``[n, z_dim]`` and classes int64 ``[n]`` to one pair per site."""

ROUNDING = 1e-4
"""Tolerance of the affinity in the latent, relative to the site's largest gain or offset."""
BENDING = 1e-3
"""Further tolerance, relative to the largest effect of the latent."""


def affine_sites(read: Read, z: Tensor, classes: Tensor) -> tuple[bool, ...]:
    """Return for each site whether gain and offset are affine in the latent, with one latent part for all classes.

    Args:
        read: function that reads the sites' gains and offsets.
        z: three different latents ``[3, z_dim]``.
        classes: classes to test, int64 ``[k]``.
    """
    corners = torch.cat([z, z[0:1] + z[1:2] - z[2:3]])
    pairs = read(corners.repeat(len(classes), 1), classes.repeat_interleave(len(corners)))
    return tuple(all(_is_affine(value.unflatten(0, (-1, len(corners)))) for value in pair) for pair in pairs)


def measured_modulations(read: Read, z_dim: int, n_classes: int, device: torch.device) -> list[Modulation]:
    """Measure the modulations of affine sites with ``n_classes + z_dim`` latents; class embeddings are one-hot vectors.

    Unit latents are scaled to the length of typical latents, which loses fewer digits and is exact for affine maps.
    """
    length = math.sqrt(z_dim)
    at_zero = read(torch.zeros(n_classes, z_dim, device=device), torch.arange(n_classes, device=device))
    class_zero = torch.zeros(z_dim, dtype=torch.int64, device=device)
    along_axes = read(length * torch.eye(z_dim, device=device), class_zero)
    return [
        Modulation(gain=_affine_map(zero_gain, axis_gain, length), offset=_affine_map(zero_offset, axis_offset, length))
        for (zero_gain, zero_offset), (axis_gain, axis_offset) in zip(at_zero, along_axes, strict=True)
    ]


def _affine_map(at_zero: Tensor, along_axes: Tensor, length: float) -> AffineMap:
    """Build an affine map from its values.

    Args:
        at_zero: values of each class at z = 0, ``[n_classes, C]``.
        along_axes: values of class 0 at ``length`` along each axis of z, ``[z_dim, C]``.
        length: distance from the origin.
    """
    constant = torch.zeros_like(at_zero[0])
    return AffineMap(constant, at_zero.T.contiguous(), ((along_axes - at_zero[:1]) / length).T.contiguous())


def _is_affine(values: Tensor) -> bool:
    """Return whether values ``[k, 4, C]`` at z1, z2, z3 and z1 + z2 - z3, for k classes, fit one affine map."""
    first, second, third, combined = values.unbind(1)
    effects = torch.stack([first - third, second - third])  # [2, k, C]
    bending = (first + second - third - combined).abs().max()
    difference = (effects - effects[:, :1]).abs().max()
    return bool(max(bending, difference) <= ROUNDING * values.abs().max() + BENDING * effects.abs().max())
