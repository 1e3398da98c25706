"""Means over classes with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.intervals import bootstrap_mean, bootstrap_weights

Array = NDArray[np.float64]


class ClassResamples:
    """Bootstrap over classes that uses the same resamples for all quantities with equally many classes.

    Quantities that are compared are therefore compared over the same resampled classes.
    """

    def __init__(self, seed: int, resamples: int) -> None:
        self.seed = seed
        self.resamples = resamples
        self._weights: dict[int, Array] = {}

    def means(self, columns: pd.DataFrame) -> dict[str, Any]:
        """Return each column's mean of known values and, as ``<column>_ci`` its 95% interval; None below two values."""
        means: dict[str, Any] = {}
        for name in columns:
            values = columns[name].dropna().to_numpy(dtype=np.float64)
            interval = bootstrap_mean(values, self._weights_of(len(values))) if len(values) > 1 else None
            means |= {str(name): mean_of_known(values), f"{name}_ci": interval and [interval.low, interval.high]}
        return means

    def _weights_of(self, n: int) -> Array:
        if n not in self._weights:
            random = random_generator(self.seed, SHARED_CLASS, 0, f"resample {n}")
            self._weights[n] = bootstrap_weights(n, self.resamples, random)
        return self._weights[n]


def mean_of_known(values: Any) -> float | None:  # noqa: ANN401
    """Return the mean of the finite values; None if there are none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else None
