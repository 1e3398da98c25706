"""Channel features at each pixel of generated images, computed a strip of rows at a time (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cawa_core.generators.base import Generator
from cawa_core.numerics.arithmetic import full_precision
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator

MOST_DIMENSIONS = 1024
"""Maximum dimensions per pixel; more channels are projected at random, which keeps distances to a few percent."""
MOST_VALUES = 2**25
"""Maximum values of the pixels computed at once, 128 MB; at least one row of an image."""
ENLARGED = 64
"""Dimensions enlarged at once, which keeps temporary copies much smaller than a strip."""


@dataclasses.dataclass(frozen=True)
class PixelFeatures:
    """Features of images at the resolutions of their sites, from which pixels are computed on request.

    For an image of 512 pixels, 1,024 dimensions of all pixels take 1.07 GB. A strip has 64 rows and takes 134 MB. Its
    projected rows of the maps take at most twice as much, if a site is as large as the image, and ``ENLARGED``
    dimensions are copied temporarily.

    Attributes:
        maps: features of each site, float32 ``[n, C, s, s]``, on the networks' device.
        projections: projection of each site ``[d, C]``; the results are summed. None if the channels are stacked.
        side: side of the images, in pixels.
    """

    maps: tuple[Tensor, ...]
    projections: tuple[Tensor, ...] | None
    side: int

    @property
    def dimensions(self) -> int:
        """Number of dimensions per pixel."""
        return len(self.projections[0]) if self.projections else sum(features.shape[1] for features in self.maps)

    def strips(self) -> Iterator[Tensor]:
        """Yield all pixels from top to bottom, at most ``MOST_VALUES`` at once: ``[n, d, h, side]``."""
        height = max(1, MOST_VALUES // (len(self.maps[0]) * self.dimensions * self.side))
        for first in range(0, self.side, height):
            yield self.rows(first, min(first + height, self.side))

    @torch.inference_mode()
    def rows(self, first: int, last: int) -> Tensor:
        """Compute the pixels of rows ``first`` to ``last - 1``.

        Returns:
            float32 ``[n, d, last - first, side]`` on the CPU; the choice of rows changes their values by rounding only.
        """
        pixels = torch.zeros(len(self.maps[0]), self.dimensions, last - first, self.side)
        with full_precision(self.maps[0].device):
            if self.projections is None:
                parts = pixels.split([features.shape[1] for features in self.maps], dim=1)
                for part, features in zip(parts, self.maps, strict=True):
                    self._add_enlarged(part, features[:, :, self._source_rows(first, last, features.shape[-1])], first)
            else:
                for summed in self._projected(first, last):
                    self._add_enlarged(pixels, summed, first)
        return pixels

    def _projected(self, first: int, last: int) -> Iterator[Tensor]:
        """Project the rows of the maps that rows of pixels depend on; yield their sum at each resolution."""
        assert self.projections is not None
        for side in dict.fromkeys(features.shape[-1] for features in self.maps):
            summed = torch.zeros(())
            source_rows = self._source_rows(first, last, side)
            for features, projection in zip(self.maps, self.projections, strict=True):
                if features.shape[-1] == side:
                    part = torch.einsum("dc,nchw->ndhw", projection, features[:, :, source_rows])
                    summed = summed.add_(part) if summed.ndim else part
            yield summed

    def _source_rows(self, first: int, last: int, side: int) -> slice:
        """Return the rows of a map that rows of pixels depend on, and one more at each end; all if uneven."""
        if self.side % side:
            return slice(0, side)
        scale = self.side // side
        return slice(max(first // scale - 1, 0), min(-(-last // scale) + 1, side))

    def _add_enlarged(self, pixels: Tensor, sources: Tensor, first: int) -> None:
        """Enlarge source rows of a map bilinearly and add them to rows of pixels, in place."""
        side = sources.shape[-1]
        height = pixels.shape[2]
        top = self._source_rows(first, first + height, side).start * self.side // side
        size = (sources.shape[2] * self.side // side, self.side)
        for target, source in zip(pixels.split(ENLARGED, dim=1), sources.split(ENLARGED, dim=1), strict=True):
            enlarged = functional.interpolate(source, size=size, mode="bilinear", align_corners=False)
            target.add_(enlarged[:, :, first - top : first - top + height].cpu())


@torch.inference_mode()
def pixel_features(
    generator: Generator,
    z: Tensor,
    class_ids: Tensor,
    sites: Sequence[int],
    weights: Mapping[int, NDArray[np.float64]] | None = None,
    seed: int = 0,
) -> PixelFeatures:
    """Compute features of channels at each pixel: after the ReLU, bilinearly enlarged to the size of the image.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        class_ids: classes of the latents, int64 ``[n]``.
        sites: sites whose channels are stacked, in ascending order.
        weights: factors of the channels of each site ``[C]``, their category awareness; None for no weights.
        seed: seed of the projection, used if there are more than ``MOST_DIMENSIONS`` channels.

    Raises:
        InputError: a site does not exist or is given twice, or there are none.
    """
    generator.require_sites(sites)
    maps = []
    state = generator.run_to(0, z, class_ids)
    for site in sorted(sites):
        state = generator.advance(state, site)
        features = state.features.to(torch.float32, copy=True)  # later steps may overwrite those of the state
        if weights is not None:
            weight = torch.as_tensor(weights[site], dtype=torch.float32, device=features.device)
            features *= weight[None, :, None, None]
        maps.append(features)
    if sum(generator.sites[site].channels for site in sites) <= MOST_DIMENSIONS:
        return PixelFeatures(tuple(maps), None, generator.image_size)
    projections = [
        _projection(site, features.shape[1], MOST_DIMENSIONS, seed).to(features)
        for site, features in zip(sorted(sites), maps, strict=True)
    ]
    return PixelFeatures(tuple(maps), tuple(projections), generator.image_size)


def pictures_held(generator: Generator, sites: Sequence[int]) -> int:
    """Return the number of images whose pixels fit into ``MOST_VALUES``; at least one, which may need strips."""
    dimensions = min(sum(generator.sites[site].channels for site in sites), MOST_DIMENSIONS)
    return max(1, MOST_VALUES // (dimensions * generator.image_size**2))


@lru_cache(maxsize=64)
def _projection(site: int, channels: int, dimensions: int, seed: int) -> Tensor:
    """Draw a random matrix ``[dimensions, channels]`` that preserves squared lengths on average."""
    random = random_generator(seed, SHARED_CLASS, site, "projection")
    matrix = random.standard_normal((dimensions, channels), dtype=np.float32) / np.float32(dimensions**0.5)
    return torch.from_numpy(matrix)
