"""Gain and offset as affine maps of latent and class, measured where they are affine (paper eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cawa_core.generators.base import AffineMap, Modulation

Pair = tuple[Tensor, Tensor]
"""Gain and offset of one site, ``[n, C]`` each."""

Read = Callable[[Tensor, Tensor], list[Pair]]
"""Latents ``[n, z_dim]``, classes int64 ``[n]`` => one pair a site."""

ROUNDING = 1e-4
"""Tolerance for the affinity in the latent, relative to the largest gain or offset of the site."""
BENDING = 1e-3
"""The same relative to the largest effect of the latent."""


def affine_sites(read: Read, z: Tensor, classes: Tensor) -> tuple[bool, ...]:
    """Whether gain and offset of each site are affine in the latent, with the same latent part for all classes.

    Args:
        z: three different latents ``[3, z_dim]``.
        classes: the classes to try, int64 ``[k]``.
    """
    corners = torch.cat([z, z[0:1] + z[1:2] - z[2:3]])
    pairs = read(corners.repeat(len(classes), 1), classes.repeat_interleave(len(corners)))
    return tuple(all(_is_affine(value.unflatten(0, (-1, len(corners)))) for value in pair) for pair in pairs)


def measured_modulations(read: Read, z_dim: int, n_classes: int, device: torch.device) -> list[Modulation]:
    """Modulations of affine sites from ``n_classes + z_dim`` latents; the embedding of a class is its one-hot vector.

    Unit latents are stretched to the length of typical ones, which costs no exactness and loses fewer digits.
    """
    length = math.sqrt(z_dim)
    at_zero = read(torch.zeros(n_classes, z_dim, device=device), torch.arange(n_classes, device=device))
    first = torch.zeros(z_dim, dtype=torch.int64, device=device)
    along = read(length * torch.eye(z_dim, device=device), first)
    return [
        Modulation(*(_affine_map(of_class, of_unit, length) for of_class, of_unit in zip(*pairs, strict=True)))
        for pairs in zip(at_zero, along, strict=True)
    ]


def _affine_map(of_class: Tensor, of_unit: Tensor, length: float) -> AffineMap:
    """Values ``[n_classes, C]`` at z = 0 and ``[z_dim, C]`` of class 0 along each axis => the map."""
    constant = torch.zeros_like(of_class[0])
    return AffineMap(constant, of_class.T.contiguous(), ((of_unit - of_class[:1]) / length).T.contiguous())


def _is_affine(values: Tensor) -> bool:
    """Values ``[k, 4, C]`` at z1, z2, z3 and z1 + z2 - z3 for k classes."""
    first, second, third, combined = values.unbind(1)
    effects = torch.stack([first - third, second - third])  # [2, k, C]
    bending = (first + second - third - combined).abs().max()
    difference = (effects - effects[:, :1]).abs().max()
    return bool(max(bending, difference) <= ROUNDING * values.abs().max() + BENDING * effects.abs().max())
