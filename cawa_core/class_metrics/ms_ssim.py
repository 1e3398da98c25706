"""Multi-scale structural similarity (Wang et al. 2003) over all pairs of a set; a high mean means low diversity."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
STABILISERS = (0.01**2, 0.03**2)
TILE = 32
"""Maximum outputs along an axis of one small blurring matrix product; it reads TILE + 10 inputs, 11 for each output."""
GROUP_BYTES = {"cpu": 2**20, "cuda": 2**26}
"""Bytes of pixels that one image is compared with at once; on a CPU they fit its cache."""


@dataclasses.dataclass(frozen=True)
class PairwiseSimilarity:
    """Mean MS-SSIM over all pairs, the number of pairs, and the number of negative terms that were set to zero."""

    mean: float
    n_pairs: int
    n_clamped: int


def usable_scales(image_size: int) -> int:
    """Return the number of scales, at most five, at which the 11-pixel window still fits."""
    return max(1, sum(image_size >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def scale_weights(image_size: int) -> tuple[float, ...]:
    """Return the weights of Wang et al. for the usable scales, normalised to sum to one."""
    weights = WEIGHTS[: usable_scales(image_size)]
    return tuple(weight / sum(weights) for weight in weights)


def pairwise_ms_ssim(images: Tensor) -> PairwiseSimilarity:
    """Compute the MS-SSIM of all pairs of images ``[n, C, H, W]`` in [-1, 1].

    The filtered moments of each image are computed once, so a pair costs one blur, that of its product. Terms are
    averaged over channels and pixels. Subtracting each image's mean leaves the covariances unchanged and makes
    float32 sufficient: the mean over pairs agrees with float64 within 1e-6.

    Raises:
        ValueError: fewer than 2 images, or images smaller than the window.
    """
    if images.ndim != 4 or len(images) < 2 or min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images must be [n >= 2, C, H >= {WINDOW}, W >= {WINDOW}]; got {list(images.shape)}")
    weights = scale_weights(min(images.shape[2:]))
    level = images.mean(dim=(2, 3), dtype=torch.float64).float()
    pixels = (images.float() - level[:, :, None, None]).div_(2)
    product = torch.ones(math.comb(len(images), 2), dtype=torch.float64, device=images.device)
    n_clamped = 0
    for scale, weight in enumerate(weights):
        is_last = scale == len(weights) - 1
        terms = _pair_terms(pixels, (level + 1) / 2 if is_last else None)
        n_clamped += int((terms < 0).sum())
        product *= terms.clamp_min(0) ** weight
        pixels = pixels if is_last else functional.avg_pool2d(pixels, 2)
    return PairwiseSimilarity(float(product.mean()), len(product), n_clamped)


def _pair_terms(pixels: Tensor, level: Tensor | None) -> Tensor:
    """Return the mean contrast-structure term of each pair, times luminance if ``level`` is given.

    Args:
        pixels: images ``[n, C, H, W]`` of range 1, each minus its level.
        level: the level that was subtracted, ``[n, C]``.

    Returns:
        float64 ``[n_pairs]``.
    """
    blur = _Blur(_Tiling(pixels.shape[2]), _Tiling(pixels.shape[3]))
    size = max(1, GROUP_BYTES[pixels.device.type] // (4 * pixels[0].numel()))
    parts = pixels.split(size)
    levels = [None] * len(parts) if level is None else level.split(size)
    groups = [_Group.of(part, part_level, blur) for part, part_level in zip(parts, levels, strict=True)]
    n_values = pixels.shape[1] * blur.rows.outputs * blur.columns.outputs
    sums = [_pair_sums(image, group, blur) for image, group in _images_with_later_groups(groups, size, len(pixels))]
    return torch.cat(sums).double() / n_values


def _pair_sums(image: _Group, group: _Group, blur: _Blur) -> Tensor:
    """Return the terms of one image with each of a group's ``g`` images, summed over channels and pixels: ``[g]``."""
    c1, c2 = STABILISERS
    # (2 cov + c2) / (var + var + c2), with numerator and denominator halved; the blur does not change the constant
    value = blur(torch.addcmul(image.pixels.new_tensor(c2 / 2), image.pixels, group.pixels))
    value.addcmul_(image.mean, group.mean, value=-1).div_(image.half_spread + group.half_spread)
    if image.luminance is not None and group.luminance is not None:
        luminance = 2 * image.luminance * group.luminance + c1
        value.mul_(luminance).div_(image.luminance.square() + group.luminance.square() + c1)
    return value.sum(dim=(0, 1, 3, 4))


@dataclasses.dataclass(frozen=True)
class _Tiling:
    """Equal tiles of a blur's outputs along one axis; the last tile may reach beyond the image."""

    side: int

    @property
    def outputs(self) -> int:
        """Number of outputs of the blur."""
        return self.side - WINDOW + 1

    @property
    def count(self) -> int:
        """Number of tiles."""
        return math.ceil(self.outputs / TILE)

    @property
    def size(self) -> int:
        """Number of outputs per tile."""
        return math.ceil(self.outputs / self.count)

    @property
    def padding(self) -> int:
        """Number of pixels, and of outputs, beyond the image."""
        return self.count * self.size - self.outputs


@functools.cache
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the Gaussian window (11 pixels, σ = 1.5) as a banded matrix ``[size + 10, size]``."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    gaussian = torch.exp(-offsets.square() / (2 * SIGMA**2))
    band = torch.zeros(size + WINDOW - 1, size, dtype=torch.float64)
    for output in range(size):
        band[output : output + WINDOW, output] = gaussian / gaussian.sum()
    return band.to(device, dtype)


@dataclasses.dataclass(frozen=True)
class _Blur:
    """Blur by the window along both axes without padding, as two tiled products with a banded matrix.

    ``[H, g, C, W]`` => ``[tiles, H', g, C, W' / tiles]``. With the height first, neither product needs a copy.
    """

    rows: _Tiling
    columns: _Tiling

    def __call__(self, x: Tensor) -> Tensor:
        """Blur images ``[H, g, C, W]``."""
        rows = self.rows
        columns = self.columns
        down = x.flatten(1).unfold(0, rows.size + WINDOW - 1, rows.size).transpose(1, 2)
        y = torch.bmm(_window(rows.size, x.dtype, x.device).T.expand(rows.count, -1, -1), down)
        across = y.view(-1, x.shape[-1]).unfold(1, columns.size + WINDOW - 1, columns.size).transpose(0, 1)
        z = torch.bmm(across, _window(columns.size, x.dtype, x.device).expand(columns.count, -1, -1))
        return z.view(columns.count, rows.count * rows.size, *x.shape[1:3], columns.size)

    def beyond(self, blurred: Tensor) -> Tensor:
        """Return which outputs lie beyond the image: bool ``[tiles, H', 1, 1, W' / tiles]``."""
        row = torch.arange(blurred.shape[1], device=blurred.device) >= self.rows.outputs
        column = torch.arange(self.columns.count * self.columns.size, device=blurred.device) >= self.columns.outputs
        return row[None, :, None, None, None] | column.view(self.columns.count, 1, 1, 1, self.columns.size)


@dataclasses.dataclass(frozen=True)
class _Group:
    """A group of images at one scale, prepared for comparison: float32, all but ``pixels`` in the blur's layout.

    Attributes:
        pixels: images ``[H, g, C, W]``, zero beyond the image.
        mean: filtered mean.
        half_spread: half of (filtered variance + c2 / 2); infinite beyond the image, which makes the terms there zero.
        luminance: filtered mean in [0, 1]; None at scales that have no luminance term.
    """

    pixels: Tensor
    mean: Tensor
    half_spread: Tensor
    luminance: Tensor | None

    @classmethod
    def of(cls, pixels: Tensor, level: Tensor | None, blur: _Blur) -> _Group:
        """Prepare images ``[g, C, H, W]``; the moments are computed in float64."""
        padded = functional.pad(pixels, (0, blur.columns.padding, 0, blur.rows.padding)).permute(2, 0, 1, 3)
        exact = padded.double().contiguous()
        mean = blur(exact)
        half_spread = (blur(exact.square()) - mean.square() + STABILISERS[1] / 2) / 2
        half_spread.masked_fill_(blur.beyond(mean), torch.inf)
        luminance = None if level is None else (mean + level[:, :, None]).float()
        return cls(padded.contiguous(), mean.float(), half_spread.float(), luminance)

    def images(self, part: slice) -> _Group:
        """Select images."""
        luminance = None if self.luminance is None else self.luminance[:, :, part]
        return _Group(self.pixels[:, part], self.mean[:, :, part], self.half_spread[:, :, part], luminance)


def _images_with_later_groups(groups: list[_Group], size: int, n_images: int) -> Iterator[tuple[_Group, _Group]]:
    """Yield each image with the images after it, group by group, in the pair order of ``torch.combinations``."""
    for number in range(n_images - 1):
        group_index, index = divmod(number, size)
        image = groups[group_index].images(slice(index, index + 1))
        rest = groups[group_index].images(slice(index + 1, None))
        if rest.pixels.shape[1]:
            yield image, rest
        for group in groups[group_index + 1 :]:
            yield image, group
