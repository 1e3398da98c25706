"""Means over classes with bootstrap intervals, and medians, by which claims are decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.rendering.claims import interval_words, named_classes, signed
from cawa_core.statistics.intervals import bootstrap_mean, bootstrap_weights
from cawa_core.statistics.outliers import left_out
from cawa_core.statistics.verdicts import Estimate, decide, median_estimate

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
            interval = bootstrap_mean(values, self.weights(len(values))) if len(values) > 1 else None
            means |= {str(name): mean_of_known(values), f"{name}_ci": interval and [interval.low, interval.high]}
        return means

    def weights(self, n: int) -> Array:
        """Return how often each resample draws each of n classes, divided by n: ``[resamples, n]``."""
        if n not in self._weights:
            random = random_generator(self.seed, SHARED_CLASS, 0, f"resample {n}")
            self._weights[n] = bootstrap_weights(n, self.resamples, random)
        return self._weights[n]


def typical_value(values: pd.Series[float]) -> dict[str, Any]:
    """Return the median over classes with its exact 95% interval, which decides claims, and what outliers do.

    Args:
        values: one value per class, indexed by class; unknown ones are left out.

    Returns:
        ``median`` and ``ci`` (None below six classes) without outliers, ``outliers`` (class indices), and
        ``mean_without_outliers``.
    """
    known = values.dropna().astype(float)
    outliers = known.index[left_out(np.array(known, dtype=np.float64))]
    inner = np.array(known.drop(outliers), dtype=np.float64)
    estimate = median_estimate(inner)
    return {
        "median": estimate.value,
        "ci": None if np.isnan(estimate.low) else [estimate.low, estimate.high],
        "outliers": [int(class_id) for class_id in outliers],
        "mean_without_outliers": mean_of_known(inner),
    }


def typical_verdict(entry: Mapping[str, Any], sign: int, smallest: float) -> str:
    """Return the verdict on the sign of a quantity from its :func:`typical_value`."""
    low, high = entry["ci"] or (np.nan, np.nan)
    value = np.nan if entry["median"] is None else entry["median"]
    return decide(Estimate(value, low, high), sign, smallest)


def typical_words(entry: Mapping[str, Any], names: Mapping[int, str], digits: int = 2) -> str:
    """Say what the median over classes is, and which outliers were left out."""
    outliers = entry["outliers"]
    without = f" without the outliers {named_classes(outliers, names)}" if outliers else ""
    if len(outliers) == 1:
        without = without.replace("outliers", "outlier")
    return f"median {signed(entry['median'], digits)}{without}, {interval_words(entry['ci'], digits)}"


def mean_of_known(values: Any) -> float | None:  # noqa: ANN401
    """Return the mean of the finite values; None if there are none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else None
