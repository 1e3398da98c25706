"""Features of some sites of a generator, and their enlargement to the images as a product of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.generators.base import Generator

MOST_CHANNELS = 6000
"""Channels of all sites above which only the last site of each resolution is read by default."""

MOST_VALUES = 2**26
"""Values of the features of a block of images, 256 MB."""
LARGEST_BLOCK = 16
"""Images of a block at the most."""

PerSite = list[Tensor]
"""One tensor per site that is read."""


def default_sites(generator: Generator) -> tuple[int, ...]:
    """Return the sites that are read by default: all, or the last of each resolution where there are many channels."""
    if sum(site.channels for site in generator.sites) <= MOST_CHANNELS:
        return tuple(site.index for site in generator.sites)
    last = {site.resolution: site.index for site in generator.sites}
    return tuple(sorted(last.values()))


def images_per_block(generator: Generator, sites: Sequence[int]) -> int:
    """Return how many images are read together: as many as fit into memory, whatever the batch size elsewhere."""
    values = sum(generator.sites[site].channels * generator.sites[site].resolution ** 2 for site in sites)
    return max(1, min(LARGEST_BLOCK, MOST_VALUES // values))


def enlargement(resolution: int, side: int, device: torch.device) -> Tensor:
    """Return the matrix that enlarges one axis from a resolution to a side, float64 ``[side, resolution]``.

    Bilinear with half-pixel centres, like ``interpolate(..., align_corners=False)``: features ``x [H, W]`` become
    ``R x Rᵀ``.
    """
    rows = torch.eye(resolution, dtype=torch.float64, device=device)[None]
    if resolution == side:
        return rows[0]
    return functional.interpolate(rows, side, mode="linear", align_corners=False)[0].T.contiguous()


def enlarged_sum(maps: Sequence[Tensor], side: int) -> Tensor:
    """Enlarge maps ``[n, K, h, w]`` of several sites to a side and add them: ``[n, K, side, side]``.

    Maps of one resolution are added before they are enlarged, which is the same and costs less.
    """
    by_size: dict[torch.Size, Tensor] = {}
    for each in maps:
        size = each.shape[2:]
        by_size[size] = by_size[size] + each if size in by_size else each
    enlarged = [
        each
        if each.shape[2:] == (side, side)
        else functional.interpolate(each, (side, side), mode="bilinear", align_corners=False)
        for each in by_size.values()
    ]
    return torch.stack(enlarged).sum(dim=0) if len(enlarged) > 1 else enlarged[0]
