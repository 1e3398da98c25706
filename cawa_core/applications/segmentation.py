"""Object parts by clustering what channels do at each pixel, weighted by awareness (paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from cawa_core.applications.pixel_features import pictures_held, pixel_features
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.pixels import as_bytes
from cawa_core.seeds import SHARED_CLASS, random_generator

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

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
    """Parts of a class's pictures, for each number of clusters: fitted to all pictures, held a batch at a time.

    Large pictures are held as strips of their rows; labels do not depend on that but for rounding. With pictures of 512
    pixels, 1,024 dimensions and 180 MB of maps a picture, memory grew by 0.95 GB at most.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        class_id: of the pictures.
        sites: see :func:`pixel_features`.
        clusters: numbers of clusters K, each at least 2.
        weights: see :func:`pixel_features`.
        seed: of projections, of the pixels that are fitted to, and of the starts.
        batch_size: pictures to a pass, at most: of large ones, fewer are held.
        progress: told how many pictures were gone through, after each pass; all are twice.

    Raises:
        InputError: a site that is not there, or a number of clusters that there cannot be.
    """
    generator.require_sites(sites)
    check_clusters(clusters, len(z) * generator.image_size**2)
    held = min(batch_size, pictures_held(generator, sites))

    def batches() -> Iterator[Iterator[Tensor]]:
        for rows in z.split(held):
            yield pixel_features(generator, rows, class_ids_of(class_id, rows), sites, weights, seed).strips()
            if progress is not None:
                progress(len(rows))

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
    batches: Callable[[], Iterable[Iterable[Tensor]]], pictures: int, clusters: Sequence[int], seed: int = 0
) -> dict[int, Segmentation]:
    """K-means of the pixels of all pictures together, for each K.

    Args:
        batches: features of square pictures by the batch, each as strips of rows ``[n, d, h, side]`` from top to
            bottom; gone through twice, to fit and to label.
        pictures: how many there are in all.
        clusters: numbers of clusters K.
        seed: of the pixels that are fitted to, and of the starts.
    """
    from sklearn.cluster import KMeans  # a second: only where pixels are clustered

    random = random_generator(seed, SHARED_CLASS, 0, "segmentation")
    each = max(1, MOST_FITTED // pictures)
    fitted = np.concatenate([pixels for strips in batches() for pixels in _drawn(strips, each, random)])
    starts = int(random.integers(2**31))
    with threadpool_limits(1):  # sums of several threads differ with their number, and clusters with them
        means = {number: KMeans(number, n_init=STARTS, random_state=starts).fit(fitted) for number in clusters}
    found: dict[int, list[Labels]] = {number: [] for number in clusters}
    for strips in batches():
        parts = [_labelled(strip, means) for strip in strips]
        for number in clusters:
            found[number].append(np.concatenate([part[number] for part in parts], axis=1))
    return {number: _from_the_border(np.concatenate(some), number) for number, some in found.items()}


def _drawn(strips: Iterable[Tensor], count: int, random: np.random.Generator) -> list[NDArray[np.float32]]:
    """Some pixels of each picture of a batch, ``[count, d]`` or all there are."""
    places: list[NDArray[np.int64]] = []
    found: list[NDArray[np.float32]] = []
    first = 0
    for strip in strips:
        pictures, dimensions, height, side = strip.shape
        if not places:
            places = [_places(side**2, count, random) for _ in range(pictures)]
            found = [np.empty((len(chosen), dimensions), dtype=np.float32) for chosen in places]
        for chosen, pixels, features in zip(places, found, strip.flatten(2).numpy(), strict=True):
            here = (first <= chosen) & (chosen < first + height * side)
            pixels[here] = features[:, chosen[here] - first].T
        first += height * side
    return found


def _places(pixels: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    return random.choice(pixels, count, replace=False) if count < pixels else np.arange(pixels)


def _labelled(strip: Tensor, means: Mapping[int, KMeans]) -> dict[int, Labels]:
    """Clusters of the pixels of a strip ``[n, h, side]``, for each K."""
    found: dict[int, list[Labels]] = {number: [] for number in means}
    for features in strip:
        pixels = features.flatten(1).T.contiguous().numpy()
        for number, fit in means.items():
            found[number].append(fit.predict(pixels).reshape(features.shape[1:]).astype(np.uint8))
    return {number: np.stack(some) for number, some in found.items()}


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


def matched_labels(labels: Labels, reference: Labels) -> NDArray[np.uint8]:
    """For maps of the same pixels, which label of the second is whose part in the first, by pixels in common.

    Args:
        labels, reference: ``[n, H, W]``.

    Returns:
        A permutation ``[256]``: for each label of ``labels`` another one of ``reference`` such that as many pixels as
        possible agree (Kuhn 1955); labels without a partner get numbers that no other has.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, as KMeans is

    number = 1 + max(int(labels.max()), int(reference.max()))
    shared = np.bincount(labels.ravel().astype(np.int64) * number + reference.ravel(), minlength=number**2)
    _, partners = linear_sum_assignment(shared.reshape(number, number), maximize=True)
    found = np.arange(MOST_CLUSTERS + 1, dtype=np.uint8)
    found[:number] = partners
    return found


def intersection_over_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of pairs of masks ``[n, H, W]``: shared over joint area ``[n]``; 1 where both are empty."""
    shared = (first & second).sum(axis=(1, 2))
    joint = (first | second).sum(axis=(1, 2))
    return np.where(joint > 0, shared / np.maximum(joint, 1), 1.0)


def bright_foreground(images: Tensor) -> NDArray[np.bool_]:
    """Pixels brighter than Otsu's threshold (1979) of each picture, for objects on black: ``[n, C, H, W]`` => bool.

    The threshold on 256 levels that makes the variance between both sides largest.
    """
    levels = as_bytes(images.float().mean(dim=1)).cpu().numpy()
    return np.stack([picture > _otsu(picture) for picture in levels])


def _otsu(picture: NDArray[np.uint8]) -> int:
    share = np.bincount(picture.ravel(), minlength=256) / picture.size
    below, mass = np.cumsum(share), np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below - mass) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
