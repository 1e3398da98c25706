"""Object parts by clustering what channels do at each pixel, weighted by awareness (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from cawa_core.applications.editing import check_channels
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.seeds import SHARED_CLASS, random_generator

MOST_DIMENSIONS = 1024
"""Of a pixel; more channels are projected at random on so many dimensions, which keeps distances to a few percent."""
MOST_FITTED = 10_000
"""Pixels that clusters are fitted to, drawn at random."""
STARTS = 4
MOST_CLUSTERS = 255
Labels = NDArray[np.uint8]
"""Cluster of each pixel ``[n, H, W]``, from those that lie at the pictures' border to those that do not."""


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """Clusters of the pixels of some pictures, fitted to all of them together.

    Attributes:
        labels: ``[n, H, W]``, the same label for the same cluster in every picture.
        n_background: how many labels, from 0 on, are of clusters with a larger share of their pixels at the border of
            the pictures than all pixels have: the background. At least one is, and one is not.
    """

    labels: Labels
    n_background: int

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Pixels outside the background ``[n, H, W]``."""
        return self.labels >= self.n_background


@torch.inference_mode()
def pixel_features(
    generator: Generator,
    z: Tensor,
    class_ids: Tensor,
    sites: Sequence[int],
    weights: Mapping[int, NDArray[np.float64]] | None = None,
    seed: int = 0,
) -> Tensor:
    """What the channels of some sites do at each pixel: features after the ReLU, bilinear at the picture's size.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        class_ids: int64 ``[n]``.
        sites: whose channels are stacked, in ascending order.
        weights: by site, what each channel is multiplied by ``[C]``: its category awareness; None: nothing.
        seed: of the projection, where there are more than ``MOST_DIMENSIONS`` channels.

    Returns:
        float32 ``[n, d, H, W]`` on the CPU.

    Raises:
        InputError: a site that the generator does not have, none, or one given twice.
    """
    if not sites or len(set(sites)) < len(sites):
        raise InputError(f"sites must be different ones, at least one; got {list(sites)}")
    for site in sites:
        check_channels(generator, site, (0,))
    total, side = sum(generator.sites[site].channels for site in sites), generator.image_size
    projected = total > MOST_DIMENSIONS
    stacked: list[Tensor] = []
    state = generator.run_to(0, z, class_ids)
    for site in sorted(sites):
        state = generator.advance(state, site)
        features = state.features.float()
        if weights is not None:
            weight = torch.as_tensor(weights[site], dtype=torch.float32, device=features.device)
            features = features * weight[None, :, None, None]
        if projected:
            random = random_generator(seed, SHARED_CLASS, site, "projection")
            matrix = random.standard_normal((MOST_DIMENSIONS, features.shape[1])) / MOST_DIMENSIONS**0.5
            features = torch.einsum("dc,nchw->ndhw", torch.from_numpy(matrix).to(features), features)
        enlarged = functional.interpolate(features, size=(side, side), mode="bilinear", align_corners=False).cpu()
        if projected and stacked:
            stacked[0] += enlarged  # projections of parts add up to that of the whole
        else:
            stacked.append(enlarged)
    return torch.cat(stacked, dim=1)


def clustered(features: Tensor, clusters: int, seed: int = 0) -> Segmentation:
    """K-means of all pixels together.

    Args:
        features: ``[n, d, H, W]``.
        clusters: K, at least 2.
        seed: of the pixels that are fitted to, and of the starts.

    Raises:
        InputError: K below 2, or above the number of pixels.
    """
    n, dimensions, height, width = features.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, dimensions).numpy()
    most = min(len(pixels), MOST_CLUSTERS)
    if not 2 <= clusters <= most:
        raise InputError(f"clusters must be in 2..{most} for {len(pixels)} pixels; got {clusters}")
    random = random_generator(seed, SHARED_CLASS, clusters, "segmentation")
    fitted = pixels if len(pixels) <= MOST_FITTED else pixels[random.choice(len(pixels), MOST_FITTED, replace=False)]
    means = KMeans(clusters, n_init=STARTS, random_state=int(random.integers(2**31))).fit(fitted)
    found = means.predict(pixels).reshape(n, height, width)
    border = np.ones((height, width), dtype=bool)
    border[1:-1, 1:-1] = False
    sizes = np.bincount(found.ravel(), minlength=clusters)
    at_border = np.bincount(found[:, border].ravel(), minlength=clusters) / np.maximum(sizes, 1)
    order = np.argsort(-at_border, kind="stable")
    rank = np.empty(clusters, dtype=np.uint8)
    rank[order] = np.arange(clusters)
    n_background = int((at_border > border.mean()).sum())
    return Segmentation(rank[found], min(max(n_background, 1), clusters - 1))


def intersection_over_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of pairs of masks ``[n, H, W]``: shared over joint area ``[n]``; 1 where both are empty."""
    shared = (first & second).sum(axis=(1, 2))
    joint = (first | second).sum(axis=(1, 2))
    return np.where(joint > 0, shared / np.maximum(joint, 1), 1.0)


def bright_foreground(images: Tensor) -> NDArray[np.bool_]:
    """Pixels brighter than Otsu's threshold (1979) of each picture, for objects on black: ``[n, C, H, W]`` => bool.

    The threshold on 256 levels that makes the variance between both sides largest.
    """
    levels = ((images.float().mean(dim=1) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
    return np.stack([picture > _otsu(picture) for picture in levels])


def _otsu(picture: NDArray[np.uint8]) -> int:
    share = np.bincount(picture.ravel(), minlength=256) / picture.size
    below, mass = np.cumsum(share), np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below - mass) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
