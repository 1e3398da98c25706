"""What channels do at each pixel of generated pictures, made a strip of rows at a time (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cawa_core.arithmetic import full_precision
from cawa_core.generators.base import Generator
from cawa_core.seeds import SHARED_CLASS, random_generator

MOST_DIMENSIONS = 1024
"""Of a pixel; more channels are projected at random on so many dimensions, which keeps distances to a few percent."""
MOST_VALUES = 2**25
"""Of the pixels that are made at once, 128 MB; one row of a picture at least."""
ENLARGED = 64
"""Dimensions that are enlarged at once: copies on the way to a strip are as much smaller than it."""


@dataclasses.dataclass(frozen=True)
class PixelFeatures:
    """Features of some pictures at their sites' own resolutions, which pixels are made of where they are asked for.

    Of one picture of 512 pixels, 1,024 dimensions of all pixels are 1.07 GB. A strip is 64 rows, 134 MB; beside it
    there are its rows of the maps, projected, twice as much at most where a site is as large as the picture, and
    ``ENLARGED`` dimensions on the way.

    Attributes:
        maps: float32 ``[n, C, s, s]`` of each site, on the networks' device.
        projections: ``[d, C]`` of each site, whose results are summed; None where the channels are stacked.
        side: of the pictures, in pixels.
    """

    maps: tuple[Tensor, ...]
    projections: tuple[Tensor, ...] | None
    side: int

    @property
    def dimensions(self) -> int:
        """Of a pixel."""
        return len(self.projections[0]) if self.projections else sum(one.shape[1] for one in self.maps)

    def strips(self) -> Iterator[Tensor]:
        """All pixels from top to bottom, at most ``MOST_VALUES`` at once: ``[n, d, h, side]``."""
        height = max(1, MOST_VALUES // (len(self.maps[0]) * self.dimensions * self.side))
        for first in range(0, self.side, height):
            yield self.rows(first, min(first + height, self.side))

    @torch.inference_mode()
    def rows(self, first: int, last: int) -> Tensor:
        """The pixels of rows ``first`` to ``last - 1``.

        Returns:
            float32 ``[n, d, last - first, side]`` on the CPU; the same whatever other rows are asked for, but for
            rounding.
        """
        made = torch.zeros(len(self.maps[0]), self.dimensions, last - first, self.side)
        with full_precision(self.maps[0].device):
            if self.projections is None:
                for part, one in zip(made.split([one.shape[1] for one in self.maps], dim=1), self.maps, strict=True):
                    self._add(part, one[:, :, self._sources(first, last, one.shape[-1])], first)
            else:
                for summed in self._projected(first, last):
                    self._add(made, summed, first)
        return made

    def _projected(self, first: int, last: int) -> Iterator[Tensor]:
        """Projections of the maps' rows that some rows of pixels are made of, summed at each resolution."""
        assert self.projections is not None
        for side in dict.fromkeys(one.shape[-1] for one in self.maps):
            summed, sources = torch.zeros(()), self._sources(first, last, side)
            for one, projection in zip(self.maps, self.projections, strict=True):
                if one.shape[-1] == side:
                    part = torch.einsum("dc,nchw->ndhw", projection, one[:, :, sources])
                    summed = summed.add_(part) if summed.ndim else part
            yield summed

    def _sources(self, first: int, last: int, side: int) -> slice:
        """Rows of a map that rows of pixels are made of, with one more at each end; all where the scale is no whole."""
        if self.side % side:
            return slice(0, side)
        scale = self.side // side
        return slice(max(first // scale - 1, 0), min(-(-last // scale) + 1, side))

    def _add(self, made: Tensor, sources: Tensor, first: int) -> None:
        """Enlarge rows of a map, that :meth:`_sources` gave, bilinearly and add what they are in rows of pixels."""
        side, height = sources.shape[-1], made.shape[2]
        begins = self._sources(first, first + height, side).start * self.side // side
        size = (sources.shape[2] * self.side // side, self.side)
        for target, some in zip(made.split(ENLARGED, dim=1), sources.split(ENLARGED, dim=1), strict=True):
            enlarged = functional.interpolate(some, size=size, mode="bilinear", align_corners=False)
            target.add_(enlarged[:, :, first - begins : first - begins + height].cpu())


@torch.inference_mode()
def pixel_features(
    generator: Generator,
    z: Tensor,
    class_ids: Tensor,
    sites: Sequence[int],
    weights: Mapping[int, NDArray[np.float64]] | None = None,
    seed: int = 0,
) -> PixelFeatures:
    """What the channels of some sites do at each pixel: features after the ReLU, bilinear at the picture's size.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        class_ids: int64 ``[n]``.
        sites: whose channels are stacked, in ascending order.
        weights: by site, what each channel is multiplied by ``[C]``: its category awareness; None: nothing.
        seed: of the projection, where there are more than ``MOST_DIMENSIONS`` channels.

    Raises:
        InputError: a site that the generator does not have, none, or one given twice.
    """
    generator.require_sites(sites)
    maps = []
    state = generator.run_to(0, z, class_ids)
    for site in sorted(sites):
        state = generator.advance(state, site)
        features = state.features.to(torch.float32, copy=True)  # what follows may overwrite those of the state
        if weights is not None:
            weight = torch.as_tensor(weights[site], dtype=torch.float32, device=features.device)
            features *= weight[None, :, None, None]
        maps.append(features)
    if sum(generator.sites[site].channels for site in sites) <= MOST_DIMENSIONS:
        return PixelFeatures(tuple(maps), None, generator.image_size)
    projections = [_projection(site, one.shape[1], seed).to(one) for site, one in zip(sorted(sites), maps, strict=True)]
    return PixelFeatures(tuple(maps), tuple(projections), generator.image_size)


def pictures_held(generator: Generator, sites: Sequence[int]) -> int:
    """Of how many pictures all pixels are at most ``MOST_VALUES``; one at least, whose pixels are then in strips."""
    dimensions = min(sum(generator.sites[site].channels for site in sites), MOST_DIMENSIONS)
    return max(1, MOST_VALUES // (dimensions * generator.image_size**2))


def _projection(site: int, channels: int, seed: int) -> Tensor:
    """A random matrix ``[MOST_DIMENSIONS, channels]`` that keeps squared lengths in the mean."""
    return _drawn_projection(site, channels, MOST_DIMENSIONS, seed)


@lru_cache(maxsize=64)
def _drawn_projection(site: int, channels: int, dimensions: int, seed: int) -> Tensor:
    random = random_generator(seed, SHARED_CLASS, site, "projection")
    matrix = random.standard_normal((dimensions, channels), dtype=np.float32) / np.float32(dimensions**0.5)
    return torch.from_numpy(matrix)
