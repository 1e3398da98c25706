"""Similarity of classes, in their real images and in their channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist, squareform

Array = NDArray[np.float64]

MOST_ORDERED = 200
"""Maximum number of classes for an optimal leaf order: its cost is cubic, and more classes are too small to see."""


def centroid_distances(centroids: pd.DataFrame) -> pd.DataFrame | None:
    """Return the distances between the mean features of the real classes, labelled by class; None if there are none."""
    if not len(centroids):
        return None
    points = np.stack(centroids.real_centroid.to_list()).astype(np.float64)
    distances = squareform(pdist(points))
    ids = list(map(int, centroids.class_id))
    return pd.DataFrame(distances, index=ids, columns=ids)


def pairs_as_matrix(pairs: pd.DataFrame, class_ids: Iterable[int]) -> Array:
    """Return the overlaps of one criterion, site and k as a symmetric matrix with ones on its diagonal."""
    ids = list(class_ids)
    pairs = pairs[pairs.class_a.isin(ids) & pairs.class_b.isin(ids)]
    positions = {class_id: index for index, class_id in enumerate(ids)}
    matrix = np.eye(len(ids))
    a, b = pairs.class_a.map(positions).to_numpy(), pairs.class_b.map(positions).to_numpy()
    matrix[a, b] = matrix[b, a] = pairs.overlap.to_numpy(dtype=np.float64)
    return matrix


def common_classes(pairs: pd.DataFrame, distances: pd.DataFrame | None) -> list[int]:
    """Return the classes that have overlaps and, unless ``distances`` is None, distances too; ascending."""
    ids = np.union1d(pairs.class_a, pairs.class_b)
    if distances is not None:
        ids = np.intersect1d(ids, distances.index)
    return [int(class_id) for class_id in ids]


def clusters(distances: Array, most: int) -> list[list[int]]:
    """Divide classes into clusters of similar ones, by Ward's linkage.

    Args:
        distances: distances between the classes ``[n, n]``, n at least 2.
        most: largest number of clusters.

    Returns:
        The classes of each cluster; similar clusters, and similar classes in them, are side by side.
    """
    tree = linkage(squareform(distances, checks=False), "ward")
    numbers = fcluster(tree, most, "maxclust")
    order = [int(leaf) for leaf in leaves_list(tree)]
    by_number: dict[int, list[int]] = {}
    for leaf in order:
        by_number.setdefault(int(numbers[leaf]), []).append(leaf)
    return list(by_number.values())


def medoid(distances: Array) -> int:
    """Return the class with the smallest mean distance from the others: distances ``[n, n]`` => index."""
    return int(distances.sum(axis=1).argmin())


def similar_together(distances: Array) -> list[int]:
    """Order the classes so that similar ones are adjacent: average linkage, with optimal leaf order for few classes."""
    if len(distances) < 3:
        return list(range(len(distances)))
    condensed = squareform(distances, checks=False)
    tree = linkage(condensed, "average")
    if len(distances) <= MOST_ORDERED:
        tree = optimal_leaf_ordering(tree, condensed)
    return [int(leaf) for leaf in leaves_list(tree)]
