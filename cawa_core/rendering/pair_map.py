"""A map of a value of each pair of many classes: clusters of similar classes, into which a reader can zoom."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cawa_core.rendering.page_data import embedded

LEVELS = 254
"""Highest level that values are rounded to on the page; level 255 is an unknown value."""


@dataclasses.dataclass(frozen=True)
class PairValues:
    """A value of each pair of classes.

    Attributes:
        heading: what ranks or relates the classes.
        matrix: values in [0, 1], symmetric ``[n, n]``; NaN if unknown. Its diagonal is not shown.
        by_chance: value that is expected by chance; colour starts there.
    """

    heading: str
    matrix: NDArray[np.float64]
    by_chance: float


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Adjacent classes that are alike: what the cluster is called, and how many classes it has."""

    name: str
    size: int


@dataclasses.dataclass(frozen=True)
class PairMap:
    """Content of the map.

    Attributes:
        alt: what it shows, for readers who cannot see it.
        data: what the page's script draws, as JSON that is safe inside a ``script`` element.
    """

    alt: str
    data: Markup


def pair_map(
    alt: str,
    class_ids: Sequence[int],
    names: Sequence[str],
    clusters: Sequence[Cluster],
    layers: Sequence[PairValues],
) -> PairMap:
    """Build the map.

    Args:
        alt: what it shows, for readers who cannot see it.
        class_ids, names: the n classes, cluster by cluster.
        clusters: the clusters, whose sizes sum to n.
        layers: values to choose from.
    """
    data = {
        "ids": list(class_ids),
        "names": list(names),
        "clusters": [[cluster.name, cluster.size] for cluster in clusters],
        "layers": [_layer(layer) for layer in layers],
    }
    return PairMap(alt, embedded(data))


def _layer(layer: PairValues) -> dict[str, str | float]:
    """Encode the pairs (a, b), a < b, row by row, as one byte each."""
    values = layer.matrix[np.triu_indices(len(layer.matrix), 1)]
    known = np.isfinite(values)
    high = max(float(values[known].max(initial=0.0)), layer.by_chance + 1e-9)
    levels = np.where(known, np.rint(np.nan_to_num(values) / high * LEVELS), 255).astype(np.uint8)
    return {
        "heading": layer.heading,
        "chance": layer.by_chance,
        "high": high,
        "pairs": base64.b64encode(levels.tobytes()).decode(),
    }
