"""Nuisances of a picture: uniform numbers by name, drawn from (seed, class, index) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.numerics.seeds import random_generator

Floats = NDArray[np.float32]

N_CLOUDS = 2
N_MOUNTAINS = 2
N_TREES = 3
COLOURED = ("sky", "ground", "wall", "roof", "crown", "mountain")
"""Things whose colour varies from picture to picture."""

NAMES = (
    *("horizon", "base", "scale", "building_x", "width", "height", "roof_height", "mirror"),
    *("door_slot", "n_windows", "window_size", "chimney_x"),
    *("sun", "sun_x", "sun_y", "sun_radius", "sea_height", "waves", "path"),
    *(f"cloud{number}{part}" for number in range(N_CLOUDS) for part in ("", "_x", "_y", "_size")),
    *(f"mountain{number}{part}" for number in range(N_MOUNTAINS) for part in ("", "_x", "_height", "_width")),
    *(f"tree{number}{part}" for number in range(N_TREES) for part in ("", "_x", "_y", "_height", "_colour")),
    *(f"{thing}_{channel}" for thing in COLOURED for channel in ("red", "green", "blue")),
)
"""Every nuisance, in the order drawn; append new ones, so that pictures keep the others."""


class Nuisances:
    """Uniform numbers in [0, 1) of several pictures, by name.

    Args:
        values: one row per picture and one column per name, ``[n, len(NAMES)]``.
    """

    def __init__(self, values: Floats) -> None:
        self._column_of: dict[str, Floats] = dict(zip(NAMES, values.T, strict=True))

    @classmethod
    def draw(cls, seed: int, class_ids: Sequence[int], indices: Sequence[int]) -> Nuisances:
        """Draw the nuisances of pictures; each row depends only on (seed, class, index)."""
        rows = [
            random_generator(seed, class_id, index, "scenes").random(len(NAMES))
            for class_id, index in zip(class_ids, indices, strict=True)
        ]
        return cls(np.asarray(rows, dtype=np.float32).reshape(-1, len(NAMES)))

    def __getitem__(self, name: str) -> Floats:
        """Return a nuisance ``[n]``, uniform in [0, 1)."""
        return self._column_of[name]

    def between(self, name: str, low: float | Floats, high: float | Floats) -> Floats:
        """Return a nuisance ``[n]``, uniform between two bounds, which may differ between pictures."""
        low, high = np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)
        return low + (high - low) * self[name]

    def whole(self, name: str, low: float | Floats, high: float | Floats) -> NDArray[np.int64]:
        """Return a nuisance ``[n]`` as a whole number from ``low`` to ``high``, both included."""
        return np.floor(low + (high - low + 1) * self[name].astype(np.float64)).astype(np.int64)

    def jitter(self, thing: str, spread: float) -> Floats:
        """Return colour changes ``[n, 3]``, uniform within ± ``spread``."""
        channels = [self.between(f"{thing}_{channel}", -spread, spread) for channel in ("red", "green", "blue")]
        return np.stack(channels, axis=1)
