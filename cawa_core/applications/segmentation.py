"""Object parts by clustering what channels do at each pixel, weighted by awareness (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from cawa_core.applications.editing import check_sites
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.masking.engine import class_ids_of
from cawa_core.seeds import SHARED_CLASS, random_generator

MOST_DIMENSIONS = 1024
"""Of a pixel; more channels are projected at random on so many dimensions, which keeps distances to a few percent."""
MOST_VALUES = 2**25
"""Of the pixels of a batch, 128 MB; one picture at least."""
MOST_FITTED = 10_000
"""Pixels that clusters are fitted to, drawn at random, as many of each picture."""
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
    check_sites(generator, sites)
    projected = sum(generator.sites[site].channels for site in sites) > MOST_DIMENSIONS
    stacked: list[Tensor] = []
    summed: dict[int, Tensor] = {}  # projections of parts add up to that of the whole, at one resolution before another
    state = generator.run_to(0, z, class_ids)
    for site in sorted(sites):
        state = generator.advance(state, site)
        with torch.autocast(z.device.type, enabled=False):
            features = state.features.float()
            if weights is not None:
                weight = torch.as_tensor(weights[site], dtype=torch.float32, device=features.device)
                features = features * weight[None, :, None, None]
            if projected:
                part = torch.einsum("dc,nchw->ndhw", _projection(site, features.shape[1], seed).to(features), features)
                side = features.shape[-1]
                summed[side] = summed[side].add_(part) if side in summed else part
            else:
                stacked.append(_enlarged(features, generator.image_size).cpu())
    if not projected:
        return torch.cat(stacked, dim=1)
    whole = torch.zeros(())
    for part in summed.values():
        whole = whole + _enlarged(part, generator.image_size).cpu()
    return whole


def _projection(site: int, channels: int, seed: int) -> Tensor:
    """A random matrix ``[MOST_DIMENSIONS, channels]`` that keeps squared lengths in the mean."""
    return _drawn_projection(site, channels, MOST_DIMENSIONS, seed)


@lru_cache(maxsize=64)
def _drawn_projection(site: int, channels: int, dimensions: int, seed: int) -> Tensor:
    random = random_generator(seed, SHARED_CLASS, site, "projection")
    matrix = random.standard_normal((dimensions, channels), dtype=np.float32) / np.float32(dimensions**0.5)
    return torch.from_numpy(matrix)


def _enlarged(features: Tensor, side: int) -> Tensor:
    return functional.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)


def segmentations(
    generator: Generator,
    z: Tensor,
    class_id: int,
    sites: Sequence[int],
    clusters: Sequence[int],
    weights: Mapping[int, NDArray[np.float64]] | None = None,
    *,
    seed: int = 0,
    batch_size: int = 16,
) -> dict[int, Segmentation]:
    """Parts of a class's pictures, for each number of clusters: fitted to all pictures, held a batch at a time.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        class_id: of the pictures.
        sites: see :func:`pixel_features`.
        clusters: numbers of clusters K, each at least 2.
        weights: see :func:`pixel_features`.
        seed: of projections, of the pixels that are fitted to, and of the starts.
        batch_size: pictures to a pass, at most: of large ones, fewer are held.

    Raises:
        InputError: a site that is not there, or a number of clusters that there cannot be.
    """
    check_sites(generator, sites)
    check_clusters(clusters, len(z) * generator.image_size**2)
    dimensions = min(sum(generator.sites[site].channels for site in sites), MOST_DIMENSIONS)
    held = min(batch_size, max(1, MOST_VALUES // (dimensions * generator.image_size**2)))

    def batches() -> Iterator[Tensor]:
        for rows in z.split(held):
            yield pixel_features(generator, rows, class_ids_of(class_id, rows), sites, weights, seed)

    return clustered(batches, len(z), clusters, seed)


def check_clusters(clusters: Sequence[int], pixels: int) -> None:
    """Check numbers of clusters.

    Raises:
        InputError: none, one given twice, one below 2, or above the number of pixels.
    """
    if not clusters or len(set(clusters)) < len(clusters):
        raise InputError(f"clusters must be different numbers, at least one; got {list(clusters)}")
    most = min(pixels, MOST_CLUSTERS)
    for number in clusters:
        if not 2 <= number <= most:
            raise InputError(f"clusters must be in 2..{most} for {pixels} pixels; got {number}")


def clustered(
    batches: Callable[[], Iterable[Tensor]], pictures: int, clusters: Sequence[int], seed: int = 0
) -> dict[int, Segmentation]:
    """K-means of the pixels of all pictures together, for each K.

    Args:
        batches: features ``[n, d, H, W]`` of the pictures by the batch; gone through twice, to fit and to label.
        pictures: how many there are in all.
        clusters: numbers of clusters K.
        seed: of the pixels that are fitted to, and of the starts.
    """
    random = random_generator(seed, SHARED_CLASS, 0, "segmentation")
    each = max(1, MOST_FITTED // pictures)
    fitted = np.concatenate([_some(rows, each, random) for features in batches() for rows in _pixels(features)])
    starts = int(random.integers(2**31))
    with threadpool_limits(1):  # sums of several threads differ with their number, and clusters with them
        means = {number: KMeans(number, n_init=STARTS, random_state=starts).fit(fitted) for number in clusters}
    found: dict[int, list[Labels]] = {number: [] for number in clusters}
    for features in batches():
        for pixels in _pixels(features):
            for number, fit in means.items():
                found[number].append(fit.predict(pixels).reshape(features.shape[2:]).astype(np.uint8))
    return {number: _from_the_border(np.stack(parts), number) for number, parts in found.items()}


def _pixels(features: Tensor) -> Iterator[NDArray[np.float32]]:
    """Those of each picture of a batch ``[H W, d]``."""
    for one in features:
        yield one.flatten(1).T.contiguous().numpy()


def _some(pixels: NDArray[np.float32], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    chosen = random.choice(len(pixels), count, replace=False) if count < len(pixels) else slice(None)
    return pixels[chosen]


def _from_the_border(found: Labels, clusters: int) -> Segmentation:
    """Labels renamed, from the clusters of which most lies at the pictures' border."""
    border = np.ones(found.shape[1:], dtype=bool)
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
