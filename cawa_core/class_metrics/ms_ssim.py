"""Multi-scale structural similarity (Wang et al. 2003) over all pairs of a set: low diversity gives a high mean."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
STABILISERS = (0.01**2, 0.03**2)
TILE = 32
"""Outputs that one small matrix product blurs along an axis, at most: of TILE + 10 inputs each output needs 11."""
GROUP_BYTES = {"cpu": 2**20, "cuda": 2**26}
"""Images compared with one image at once, in bytes of pixels: on a CPU what its cache holds."""


@dataclasses.dataclass(frozen=True)
class PairwiseSimilarity:
    """Mean MS-SSIM over all pairs, the number of pairs, and how many terms were negative and set to zero."""

    mean: float
    n_pairs: int
    n_clamped: int


def usable_scales(image_size: int) -> int:
    """Scales, at most five, at which the 11-pixel window still fits."""
    return max(1, sum(image_size >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def scale_weights(image_size: int) -> tuple[float, ...]:
    """The first weights of Wang et al., scaled to sum to one."""
    kept = WEIGHTS[: usable_scales(image_size)]
    return tuple(weight / sum(kept) for weight in kept)


def pairwise_ms_ssim(images: Tensor) -> PairwiseSimilarity:
    """MS-SSIM of all pairs of images ``[n, C, H, W]`` in [-1, 1].

    Each image's own filtered moments are computed once, so a pair costs one blur, that of its product; terms are
    averaged over channels and pixels. Covariances do not change when each image's mean is taken off, which makes
    float32 enough: the mean over pairs is that of float64 within 1e-6.

    Raises:
        ValueError: fewer than 2 images, or images smaller than the window.
    """
    if images.ndim != 4 or len(images) < 2 or min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images must be [n >= 2, C, H >= {WINDOW}, W >= {WINDOW}]; got {list(images.shape)}")
    weights = scale_weights(min(images.shape[2:]))
    level = images.mean(dim=(2, 3), dtype=torch.float64).float()
    pixels = (images.float() - level[:, :, None, None]).div_(2)
    product, clamped = torch.ones(math.comb(len(images), 2), dtype=torch.float64, device=images.device), 0
    for scale, weight in enumerate(weights):
        is_last = scale == len(weights) - 1
        terms = _pair_terms(pixels, (level + 1) / 2 if is_last else None)
        clamped += int((terms < 0).sum())
        product *= terms.clamp_min(0) ** weight
        pixels = pixels if is_last else functional.avg_pool2d(pixels, 2)
    return PairwiseSimilarity(float(product.mean()), len(product), clamped)


def _pair_terms(pixels: Tensor, level: Tensor | None) -> Tensor:
    """Mean contrast-structure term of each pair, times luminance where ``level`` is given: float64 ``[n_pairs]``.

    Args:
        pixels: ``[n, C, H, W]`` less each image's level, of range 1.
        level: what was taken off, ``[n, C]``.
    """
    blur = _Blur(_Tiling(pixels.shape[2]), _Tiling(pixels.shape[3]))
    size = max(1, GROUP_BYTES[pixels.device.type] // (4 * pixels[0].numel()))
    parts = pixels.split(size)
    levels = [None] * len(parts) if level is None else level.split(size)
    groups = [_Group.of(part, of, blur) for part, of in zip(parts, levels, strict=True)]
    n_values = pixels.shape[1] * blur.rows.outputs * blur.columns.outputs
    sums = [_pair_sums(one, others, blur) for one, others in _each_with_later(groups, size, len(pixels))]
    return torch.cat(sums).double() / n_values


def _pair_sums(one: _Group, others: _Group, blur: _Blur) -> Tensor:
    """The terms of one image with a group of ``g`` others, summed over channels and pixels: ``[g]``."""
    c1, c2 = STABILISERS
    # (2 cov + c2) / (var + var + c2), halved above and below; the blur leaves the constant as it is
    value = blur(torch.addcmul(one.pixels.new_tensor(c2 / 2), one.pixels, others.pixels))
    value.addcmul_(one.mean, others.mean, value=-1).div_(one.half_spread + others.half_spread)
    if one.luminance is not None and others.luminance is not None:
        luminance = 2 * one.luminance * others.luminance + c1
        value.mul_(luminance).div_(one.luminance.square() + others.luminance.square() + c1)
    return value.sum(dim=(0, 1, 3, 4))


@dataclasses.dataclass(frozen=True)
class _Tiling:
    """Outputs of a blur along one axis, cut into equal tiles; the last one may reach beyond the image."""

    side: int

    @property
    def outputs(self) -> int:
        return self.side - WINDOW + 1

    @property
    def count(self) -> int:
        return math.ceil(self.outputs / TILE)

    @property
    def size(self) -> int:
        return math.ceil(self.outputs / self.count)

    @property
    def missing(self) -> int:
        """Pixels, and as many outputs, that are no part of the image."""
        return self.count * self.size - self.outputs


@functools.cache
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Gaussian of 11 pixels and σ = 1.5 as a banded matrix: ``[size + 10, size]``."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    gaussian = torch.exp(-offsets.square() / (2 * SIGMA**2))
    band = torch.zeros(size + WINDOW - 1, size, dtype=torch.float64)
    for output in range(size):
        band[output : output + WINDOW, output] = gaussian / gaussian.sum()
    return band.to(device, dtype)


@dataclasses.dataclass(frozen=True)
class _Blur:
    """The window along both axes without padding, as two products with a banded matrix, tile by tile.

    ``[H, g, C, W]`` => ``[tiles, H', g, C, W' / tiles]``: with the height first, neither product has to copy.
    """

    rows: _Tiling
    columns: _Tiling

    def __call__(self, x: Tensor) -> Tensor:
        rows, columns = self.rows, self.columns
        down = x.flatten(1).unfold(0, rows.size + WINDOW - 1, rows.size).transpose(1, 2)
        y = torch.bmm(_window(rows.size, x.dtype, x.device).T.expand(rows.count, -1, -1), down)
        across = y.view(-1, x.shape[-1]).unfold(1, columns.size + WINDOW - 1, columns.size).transpose(0, 1)
        z = torch.bmm(across, _window(columns.size, x.dtype, x.device).expand(columns.count, -1, -1))
        return z.view(columns.count, rows.count * rows.size, *x.shape[1:3], columns.size)

    def beyond(self, blurred: Tensor) -> Tensor:
        """Which outputs are no part of the image: bool ``[tiles, H', 1, 1, W' / tiles]``."""
        row = torch.arange(blurred.shape[1], device=blurred.device) >= self.rows.outputs
        column = torch.arange(self.columns.count * self.columns.size, device=blurred.device) >= self.columns.outputs
        return row[None, :, None, None, None] | column.view(self.columns.count, 1, 1, 1, self.columns.size)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Some images at one scale, as a comparison reads them: float32.

    Attributes:
        pixels: ``[H, g, C, W]``, with zeros beyond the image.
        mean: filtered; it and the following in the blur's layout.
        half_spread: half of the filtered variance + c2 / 2; infinite beyond the image, where terms are thus zero.
        luminance: filtered mean in [0, 1]; None at scales where it does not enter.
    """

    pixels: Tensor
    mean: Tensor
    half_spread: Tensor
    luminance: Tensor | None

    @classmethod
    def of(cls, pixels: Tensor, level: Tensor | None, blur: _Blur) -> _Group:
        """Of images ``[g, C, H, W]``, their own moments by float64."""
        padded = functional.pad(pixels, (0, blur.columns.missing, 0, blur.rows.missing)).permute(2, 0, 1, 3)
        exact = padded.double().contiguous()
        mean = blur(exact)
        half_spread = (blur(exact.square()) - mean.square() + STABILISERS[1] / 2) / 2
        half_spread.masked_fill_(blur.beyond(mean), torch.inf)
        luminance = None if level is None else (mean + level[:, :, None]).float()
        return cls(padded.contiguous(), mean.float(), half_spread.float(), luminance)

    def images(self, part: slice) -> _Group:
        """Some of them."""
        luminance = None if self.luminance is None else self.luminance[:, :, part]
        return _Group(self.pixels[:, part], self.mean[:, :, part], self.half_spread[:, :, part], luminance)


def _each_with_later(groups: list[_Group], size: int, n_images: int) -> Iterator[tuple[_Group, _Group]]:
    """Each image with those after it, by the group: the pairs in the order of ``torch.combinations``."""
    for image in range(n_images - 1):
        own, index = divmod(image, size)
        one = groups[own].images(slice(index, index + 1))
        rest = groups[own].images(slice(index + 1, None))
        if rest.pixels.shape[1]:
            yield one, rest
        yield from ((one, later) for later in groups[own + 1 :])
