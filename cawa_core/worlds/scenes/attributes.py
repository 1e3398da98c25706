"""Attributes of pictures: what is in them, measured on label maps or known from the layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.worlds.scenes.layout import Layout
from cawa_core.worlds.scenes.vocabulary import LABELS

LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Attributes of n pictures.

    Attributes:
        n_windows, n_trees: windows and trees drawn, int64 ``[n]``; a tree may stand partly behind the building.
        has_sun: whether a pixel shows sun or moon, bool ``[n]``.
        horizon: height of the horizon from the top, as a share of the side, float32 ``[n]``.
        building_box: left, top, right and bottom of the building as shares of the side, float32 ``[n, 4]``.
        door_x: middle of the door as a share of the side, float32 ``[n]``.
        brightness: mean luma of the pixels in [0, 1], float32 ``[n]``.
        areas: share of the pixels with each label, float32 ``[n, 11]``.
    """

    n_windows: NDArray[np.int64]
    n_trees: NDArray[np.int64]
    has_sun: NDArray[np.bool_]
    horizon: NDArray[np.float32]
    building_box: NDArray[np.float32]
    door_x: NDArray[np.float32]
    brightness: NDArray[np.float32]
    areas: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Attributes]) -> Attributes:
        """Join the attributes of several batches of pictures."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def measure(images: NDArray[np.uint8], labels: NDArray[np.uint8], layout: Layout) -> Attributes:
    """Measure pictures ``[n, side, side, 3]`` with their label maps ``[n, side, side]`` and layout."""
    areas = np.stack([(labels == label).mean(axis=(1, 2), dtype=np.float32) for label in range(len(LABELS))], axis=1)
    colour = images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    return Attributes(
        n_windows=layout.window.sum(axis=1),
        n_trees=layout.tree.sum(axis=1),
        has_sun=areas[:, LABELS.index("sun")] > 0,
        horizon=layout.horizon,
        building_box=layout.box,
        door_x=layout.door_x,
        brightness=(colour * LUMA).sum(axis=1) / np.float32(255),
        areas=areas,
    )
