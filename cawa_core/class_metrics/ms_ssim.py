"""Multi-scale structural similarity (Wang et al. 2003) over all pairs of a set: low diversity gives a high mean."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
STABILISERS = (0.01**2, 0.03**2)
PAIR_BLOCK = 512
"""Pairs compared at once."""


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

    Each image's own filtered moments are computed once; terms are averaged over channels and pixels.

    Raises:
        ValueError: fewer than 2 images, or images smaller than the window.
    """
    if len(images) < 2 or min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images must be [n >= 2, C, H >= {WINDOW}, W >= {WINDOW}]; got {list(images.shape)}")
    pairs = torch.combinations(torch.arange(len(images), device=images.device))
    weights, pixels = scale_weights(min(images.shape[2:])), (images.double() + 1) / 2
    product = torch.ones(len(pairs), dtype=torch.float64, device=images.device)
    clamped = 0
    for scale, weight in enumerate(weights):
        terms = _pair_terms(pixels, pairs, with_luminance=scale == len(weights) - 1)
        clamped += int((terms < 0).sum())
        product *= terms.clamp_min(0) ** weight
        pixels = functional.avg_pool2d(pixels, 2)
    return PairwiseSimilarity(float(product.mean()), len(pairs), clamped)


def _pair_terms(pixels: Tensor, pairs: Tensor, with_luminance: bool) -> Tensor:
    """Mean contrast-structure term (times luminance at the last scale) of each pair: ``[n_pairs]``."""
    mean = _blur(pixels)
    variance = _blur(pixels.square()) - mean.square()
    c1, c2 = STABILISERS
    terms = []
    for block in pairs.split(PAIR_BLOCK):
        a, b = block[:, 0], block[:, 1]
        covariance = _blur(pixels[a] * pixels[b]) - mean[a] * mean[b]
        value = (2 * covariance + c2) / (variance[a] + variance[b] + c2)
        if with_luminance:
            value = value * (2 * mean[a] * mean[b] + c1) / (mean[a].square() + mean[b].square() + c1)
        terms.append(value.mean(dim=(1, 2, 3)))
    return torch.cat(terms)


def _blur(x: Tensor) -> Tensor:
    """Gaussian window of 11 pixels, σ = 1.5, without padding: ``[n, C, H, W]`` => ``[n, C, H - 10, W - 10]``."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    window = window / window.sum()
    flat = x.flatten(0, 1)[:, None]
    blurred = functional.conv2d(functional.conv2d(flat, window[None, None, None, :]), window[None, None, :, None])
    result: Tensor = blurred.unflatten(0, x.shape[:2])[:, :, 0]
    return result
