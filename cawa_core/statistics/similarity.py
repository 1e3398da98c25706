"""Which classes are alike, in the real images and in their channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist, squareform

Array = NDArray[np.float64]

MOST_ORDERED = 200
"""Classes whose leaf order is optimal: it takes their number cubed, and more are too small on the page to tell."""


def centroid_distances(centroids: pd.DataFrame) -> pd.DataFrame | None:
    """Distances between the real classes' mean features, labelled by class; None where there are none."""
    if not len(centroids):
        return None
    points = np.stack(centroids.real_centroid.to_list()).astype(np.float64)
    distances = squareform(pdist(points))
    ids = list(map(int, centroids.class_id))
    return pd.DataFrame(distances, index=ids, columns=ids)


def pairs_as_matrix(pairs: pd.DataFrame, class_ids: Iterable[int]) -> Array:
    """Overlaps of one criterion, site and k as a symmetric matrix with ones on its diagonal."""
    ids = list(class_ids)
    pairs = pairs[pairs.class_a.isin(ids) & pairs.class_b.isin(ids)]
    place = {class_id: index for index, class_id in enumerate(ids)}
    matrix = np.eye(len(ids))
    a, b = pairs.class_a.map(place).to_numpy(), pairs.class_b.map(place).to_numpy()
    matrix[a, b] = matrix[b, a] = pairs.overlap.to_numpy(dtype=np.float64)
    return matrix


def common_classes(pairs: pd.DataFrame, distances: pd.DataFrame | None) -> list[int]:
    """Classes that have overlaps and, where distances are known, a place among them too; ascending."""
    ids = np.union1d(pairs.class_a, pairs.class_b)
    known = ids if distances is None else np.intersect1d(ids, distances.index)
    return [int(class_id) for class_id in known]


def similar_together(distances: Array) -> list[int]:
    """An order of the classes that puts similar ones side by side: average linkage, optimal leaf order for a few."""
    if len(distances) < 3:
        return list(range(len(distances)))
    condensed = squareform(distances, checks=False)
    tree = linkage(condensed, "average")
    if len(distances) <= MOST_ORDERED:
        tree = optimal_leaf_ordering(tree, condensed)
    return [int(leaf) for leaf in leaves_list(tree)]
