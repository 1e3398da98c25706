"""Sums over images from which a linear map of the features is solved exactly, without keeping any feature.

The map has one weight per channel and category, and a constant per category. Its normal equations need only the Gram
matrix of the enlarged features and their products with the categories, both summed over pixels. The share of each block
of images is rounded to a multiple of :data:`QUANTUM`, and shares are added in integers, so that the sums, and with them
the map, do not depend on the order of the blocks or on how shards divide them.

Enlarging features ``x [h, h]`` to the image is ``R x Rᵀ``, so the product of two enlarged maps, summed over pixels, is
``⟨x, M y Mᵀ⟩`` with ``M = Rᵀ R'``: it is computed at the lower of the two resolutions, and nothing is enlarged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.semantics.features import PerSite, enlargement

MOST_VALUES = 2**23
"""Values of the largest site that are multiplied at once, 64 MB."""
QUANTUM = 2.0**-16
"""Step of the sums, for features in units of their own typical size."""


@torch.inference_mode()
def channel_scales(blocks: Iterable[PerSite]) -> PerSite:
    """Return a power of two near the size of each channel, float64 ``[C]`` by site; 1 for a channel that is off.

    Args:
        blocks: features of some images, block by block, ``[n, C, H, W]`` by site; at least one block.
    """
    squares: PerSite = []
    n_images = 0
    for features in blocks:
        sums = [each.double().square().mean(dim=(2, 3)).sum(dim=0) for each in features]
        squares = [total + each for total, each in zip(squares, sums, strict=True)] if squares else sums
        n_images += len(features[0])
    sizes = [(each / n_images).sqrt() for each in squares]
    return [torch.where(size > 0, torch.exp2(torch.log2(size.clamp(min=1e-30)).round()), 1.0) for size in sizes]


@dataclasses.dataclass
class FeatureSums:
    """Products of the features of some images, summed over pixels; the last row is that of the constant.

    Attributes:
        scales: sizes that features are divided by, float64 ``[C]`` by site.
        side: pixels per side of the images.
        gram: products of features with features in multiples of ``QUANTUM``, int64 ``[D, D]``; entries below the
            blocks on the diagonal are zero.
        products: products of features with categories in multiples of ``QUANTUM``, int64 ``[D, categories]``.
        n_images: number of images.
    """

    scales: PerSite
    side: int
    gram: Tensor
    products: Tensor
    n_images: int = 0

    @classmethod
    def none(cls, scales: PerSite, side: int, n_categories: int) -> FeatureSums:
        """Return the sums of no images."""
        size = sum(len(scale) for scale in scales) + 1
        device = scales[0].device
        gram = torch.zeros(size, size, dtype=torch.int64, device=device)
        return cls(scales, side, gram, torch.zeros(size, n_categories, dtype=torch.int64, device=device))

    @torch.inference_mode()
    def add(self, features: PerSite, maps: Tensor) -> None:
        """Add a block of images, in parts if their features are large.

        Args:
            features: their features, ``[n, C, H, W]`` by site.
            maps: their categories, int64 ``[n, S, S]``.
        """
        at_once = max(1, MOST_VALUES // max(each[0].numel() for each in features))
        for first in range(0, len(maps), at_once):
            images = slice(first, first + at_once)
            self._add_at_once([each[images] for each in features], maps[images])

    def _add_at_once(self, features: PerSite, maps: Tensor) -> None:
        parts = self._parts(features)
        one_hot = functional.one_hot(maps, self.products.shape[1]).movedim(-1, 0).double()
        first = 0
        for place, part in enumerate(parts):
            rows = slice(first, first + len(part.values))
            self.products[rows] += _steps(part.values.flatten(1) @ part.gathered(one_hot).flatten(1).T)
            start = first
            for other in parts[place:]:
                columns = slice(start, start + len(other.values))
                self.gram[rows, columns] += _steps(part.times(other))
                start = columns.stop
            first = rows.stop
        self.n_images += len(maps)

    def add_sums(self, other: FeatureSums) -> None:
        """Add the sums of other images.

        Raises:
            InputError: they are of other channels, categories or units.
        """
        shapes = [(sums.gram.shape, sums.products.shape, sums.side) for sums in (self, other)]
        if shapes[0] != shapes[1] or not all(map(torch.equal, self.scales, other.scales)):
            raise InputError("sums must be of the same channels, categories and units to be added")
        self.gram += other.gram
        self.products += other.products
        self.n_images += other.n_images

    def equations(self) -> tuple[Tensor, Tensor]:
        """Return the normal equations of scaled features: float64 ``[D, D]``, symmetric, and ``[D, categories]``."""
        gram = self.gram.double().mul_(QUANTUM).triu_()
        gram += gram.T.clone().fill_diagonal_(0)
        return gram, self.products.double().mul_(QUANTUM)

    def _parts(self, features: PerSite) -> list[_Part]:
        """Return the scaled features of images with their enlargement, and the constant.

        Sites of one resolution that follow each other are one part.
        """
        scaled = [
            (each / scale[:, None, None]).movedim(0, 1) for each, scale in zip(features, self.scales, strict=True)
        ]
        scaled.append(torch.ones_like(scaled[0][:1, :, :1, :1]))  # the constant has one pixel
        groups = [list(group) for _, group in groupby(scaled, key=lambda values: values.shape[-1])]
        return [
            _Part(torch.cat(group), enlargement(group[0].shape[-1], self.side, self.gram.device)) for group in groups
        ]


@dataclasses.dataclass(frozen=True)
class _Part:
    """Scaled features of one resolution ``[C, n, h, h]``, float64, and the matrix that enlarges them ``[side, h]``."""

    values: Tensor
    matrix: Tensor

    def gathered(self, maps: Tensor) -> Tensor:
        """Return maps ``[k, n, side, side]`` on the part's grid, where products with it equal those on the image's."""
        return _resampled(maps, self.matrix.T)

    def times(self, other: _Part) -> Tensor:
        """Return the products of all pairs of enlarged maps, summed over images and pixels: ``[C, C']``."""
        if self.values.shape[-1] > other.values.shape[-1]:
            return other.times(self).T
        moved = _resampled(other.values, self.matrix.T @ other.matrix)
        return self.values.flatten(1) @ moved.flatten(1).T


def _resampled(maps: Tensor, matrix: Tensor) -> Tensor:
    """Return ``matrix @ map @ matrix.T`` of every map, as two large products instead of many small ones."""
    half = (maps.flatten(0, -2) @ matrix.T).view(*maps.shape[:-1], -1)
    turned = half.transpose(-1, -2).contiguous()
    return (turned.flatten(0, -2) @ matrix.T).view(*turned.shape[:-1], -1).transpose(-1, -2)


def _steps(values: Tensor) -> Tensor:
    return (values / QUANTUM).round().to(torch.int64)
