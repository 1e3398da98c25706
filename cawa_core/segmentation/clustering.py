"""Object parts by clustering features at each pixel, weighted by awareness (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.rendering.pixels import as_bytes
from cawa_core.segmentation.pixel_features import pictures_held, pixel_features

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

MOST_FITTED = 10_000
"""Number of pixels that clusters are fitted to, drawn at random, equally many per image."""
STARTS = 4
MOST_CLUSTERS = 255
Labels = NDArray[np.uint8]
"""Cluster of each pixel ``[n, H, W]``, ordered from clusters at the border of the images to those away from it."""


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """Clusters of the pixels of several images, fitted to all of them together.

    Attributes:
        labels: cluster of each pixel ``[n, H, W]``, with the same label for a cluster in every image.
        n_background: number of labels, counted from 0, that form the background: clusters with a larger share of their
            pixels at the border of the images than pixels on average. At least 1, and fewer than all.
    """

    labels: Labels
    n_background: int

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Mask of the pixels outside the background ``[n, H, W]``."""
        return self.labels >= self.n_background


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
    progress: Callable[[int], None] | None = None,
) -> dict[int, Segmentation]:
    """Segment images of a class for each number of clusters, fitted to all images but processed in batches.

    Large images are processed as strips of rows, which changes labels by rounding only. With images of 512 pixels,
    1,024 dimensions and 180 MB of maps per image, memory grew by at most 0.95 GB.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        class_id: class of the images.
        sites: see :func:`pixel_features`.
        clusters: numbers of clusters K, each at least 2.
        weights: see :func:`pixel_features`.
        seed: seed of the projections, the pixels to fit and the starts of K-means.
        batch_size: maximum images per pass; fewer if they are large.
        progress: function called with the number of images processed, after each pass; every image is processed twice.

    Raises:
        InputError: a site does not exist, or a number of clusters is not possible.
    """
    generator.require_sites(sites)
    check_clusters(clusters, len(z) * generator.image_size**2)
    images_per_batch = min(batch_size, pictures_held(generator, sites))

    def batches() -> Iterator[Iterator[Tensor]]:
        for rows in z.split(images_per_batch):
            yield pixel_features(generator, rows, class_ids_of(class_id, rows), sites, weights, seed).strips()
            if progress is not None:
                progress(len(rows))

    return clustered(batches, len(z), clusters, seed)


def check_clusters(clusters: Sequence[int], pixels: int) -> None:
    """Check numbers of clusters.

    Raises:
        InputError: there are none, or one is given twice, below 2 or above the number of pixels.
    """
    if not clusters or len(set(clusters)) < len(clusters):
        raise InputError(f"clusters must be different numbers, at least one; got {list(clusters)}")
    most = min(pixels, MOST_CLUSTERS)
    for number in clusters:
        if not 2 <= number <= most:
            raise InputError(f"clusters must be in 2..{most} for {pixels} pixels; got {number}")


def clustered(
    batches: Callable[[], Iterable[Iterable[Tensor]]], pictures: int, clusters: Sequence[int], seed: int = 0
) -> dict[int, Segmentation]:
    """Cluster the pixels of all images together by K-means, for each K.

    Args:
        batches: function that returns features of square images in batches, each as strips of rows
            ``[n, d, h, side]`` from top to bottom; called twice, to fit and to label.
        pictures: total number of images.
        clusters: numbers of clusters K.
        seed: seed of the pixels to fit and of the starts of K-means.
    """
    from sklearn.cluster import KMeans  # takes a second, so only when pixels are clustered

    random = random_generator(seed, SHARED_CLASS, 0, "segmentation")
    pixels_per_image = max(1, MOST_FITTED // pictures)
    fitted = np.concatenate(
        [pixels for strips in batches() for pixels in _draw_pixels(strips, pixels_per_image, random)]
    )
    starts = int(random.integers(2**31))
    with threadpool_limits(1):  # sums depend on the number of threads, and so would clusters
        means = {number: KMeans(number, n_init=STARTS, random_state=starts).fit(fitted) for number in clusters}
    labels: dict[int, list[Labels]] = {number: [] for number in clusters}
    for strips in batches():
        parts = [_label_strip(strip, means) for strip in strips]
        for number in clusters:
            labels[number].append(np.concatenate([part[number] for part in parts], axis=1))
    return {number: _border_first(np.concatenate(of_batches), number) for number, of_batches in labels.items()}


def _draw_pixels(strips: Iterable[Tensor], count: int, random: np.random.Generator) -> list[NDArray[np.float32]]:
    """Draw pixels of each image of a batch at random: ``[count, d]``, or all of them if there are fewer."""
    places: list[NDArray[np.int64]] = []
    samples: list[NDArray[np.float32]] = []
    first = 0
    for strip in strips:
        pictures, dimensions, height, side = strip.shape
        if not places:
            places = [_places(side**2, count, random) for _ in range(pictures)]
            samples = [np.empty((len(chosen), dimensions), dtype=np.float32) for chosen in places]
        for chosen, pixels, features in zip(places, samples, strip.flatten(2).numpy(), strict=True):
            in_strip = (first <= chosen) & (chosen < first + height * side)
            pixels[in_strip] = features[:, chosen[in_strip] - first].T
        first += height * side
    return samples


def _places(pixels: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    return random.choice(pixels, count, replace=False) if count < pixels else np.arange(pixels)


def _label_strip(strip: Tensor, means: Mapping[int, KMeans]) -> dict[int, Labels]:
    """Assign the pixels of a strip to clusters, for each K: ``[n, h, side]``."""
    labels: dict[int, list[Labels]] = {number: [] for number in means}
    for features in strip:
        pixels = features.flatten(1).T.contiguous().numpy()
        for number, fit in means.items():
            labels[number].append(fit.predict(pixels).reshape(features.shape[1:]).astype(np.uint8))
    return {number: np.stack(of_images) for number, of_images in labels.items()}


def _border_first(labels: Labels, clusters: int) -> Segmentation:
    """Renumber labels, starting with the clusters that have the largest share at the border of the images."""
    border = np.ones(labels.shape[1:], dtype=bool)
    border[1:-1, 1:-1] = False
    sizes = np.bincount(labels.ravel(), minlength=clusters)
    at_border = np.bincount(labels[:, border].ravel(), minlength=clusters) / np.maximum(sizes, 1)
    order = np.argsort(-at_border, kind="stable")
    rank = np.empty(clusters, dtype=np.uint8)
    rank[order] = np.arange(clusters)
    n_background = int((at_border > border.mean()).sum())
    return Segmentation(rank[labels], min(max(n_background, 1), clusters - 1))


def matched_labels(labels: Labels, reference: Labels) -> NDArray[np.uint8]:
    """Match the labels of two maps of the same pixels by the number of pixels that they share.

    Args:
        labels, reference: maps of labels ``[n, H, W]``.

    Returns:
        A permutation ``[256]``: for each label of ``labels`` a different one of ``reference``, such that as many pixels
        as possible agree (Kuhn 1955); labels without a partner get numbers that no other label has.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, like KMeans

    number = 1 + max(int(labels.max()), int(reference.max()))
    shared = np.bincount(labels.ravel().astype(np.int64) * number + reference.ravel(), minlength=number**2)
    _, partners = linear_sum_assignment(shared.reshape(number, number), maximize=True)
    permutation = np.arange(MOST_CLUSTERS + 1, dtype=np.uint8)
    permutation[:number] = partners
    return permutation


def intersection_over_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return shared over joint area ``[n]`` of pairs of masks ``[n, H, W]``; 1 if both are empty."""
    shared = (first & second).sum(axis=(1, 2))
    joint = (first | second).sum(axis=(1, 2))
    return np.where(joint > 0, shared / np.maximum(joint, 1), 1.0)


def label_agreement(clusters: Labels, labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the adjusted Rand index of pairs of label maps ``[n, H, W]``, whatever their labels are called: ``[n]``.

    It is 1 if both divide the pixels in the same way, and 0 on average for random divisions with as many pixels of each
    label (Hubert and Arabie 1985).
    """
    from sklearn.metrics import adjusted_rand_score  # slow to import, like KMeans

    pairs = zip(clusters.reshape(len(clusters), -1), labels.reshape(len(labels), -1), strict=True)
    return np.array([adjusted_rand_score(of_pixels, of_clusters) for of_clusters, of_pixels in pairs], dtype=np.float64)


def bright_foreground(images: Tensor) -> NDArray[np.bool_]:
    """Find the pixels brighter than each image's threshold, for objects on black: ``[n, C, H, W]`` => bool.

    Otsu's threshold (1979) on 256 levels maximises the variance between the pixels below and above it.
    """
    levels = as_bytes(images.float().mean(dim=1)).cpu().numpy()
    return np.stack([picture > _otsu(picture) for picture in levels])


def _otsu(picture: NDArray[np.uint8]) -> int:
    share = np.bincount(picture.ravel(), minlength=256) / picture.size
    below = np.cumsum(share)
    mass = np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below - mass) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
