"""Error rates and power of the verdict on a difference over classes, with and without outliers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cawa_core.statistics.intervals import bootstrap_mean, bootstrap_weights
from cawa_core.statistics.outliers import left_out
from cawa_core.statistics.verdicts import FAILS, HOLDS, OPEN, SMALLEST_GAIN, decide, median_estimate

CLASSES = (10, 30, 100, 1000)
GAINS = (0.0, 0.01, 0.02, 0.05)
"""True medians of the differences."""
SPREAD = 0.05
"""Standard deviation of the differences over classes."""
DISTANCE = 1.0
"""Difference of the outliers."""
SIMULATIONS = 1000


def shares(n_classes: int, gain: float, n_outliers: int, simulations: int = SIMULATIONS) -> dict[str, float]:
    """Return the shares of the verdicts, and of bootstrap intervals of the mean above zero (``mean``).

    Args:
        n_classes: number of classes.
        gain: true median of the differences, which are normal.
        n_outliers: classes with a difference of :data:`DISTANCE`.
        simulations: number of simulations.
    """
    random = np.random.default_rng((n_classes, int(1000 * gain), n_outliers))
    weights = bootstrap_weights(n_classes, 500, random)
    counts: Counter[str] = Counter()
    for _ in range(simulations):
        values = random.normal(gain, SPREAD, n_classes)
        values[:n_outliers] = DISTANCE
        counts[decide(median_estimate(np.delete(values, left_out(values))), 1, SMALLEST_GAIN)] += 1
        counts["mean"] += bootstrap_mean(values, weights).low > 0
    return {name: counts[name] / simulations for name in (HOLDS, OPEN, FAILS, "mean")}


def median_table() -> str:
    """Simulate all settings and return their table."""
    lines = [
        "| classes | outliers | true median | holds | open | does not hold | mean > 0 with its interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for n_classes in CLASSES:
        for n_outliers in (0, min(3, n_classes // 10)):
            for gain in GAINS if not n_outliers else (0.0,):
                simulated = shares(n_classes, gain, n_outliers)
                cells = " | ".join(f"{share:.1%}" for share in simulated.values())
                lines.append(f"| {n_classes:,} | {n_outliers} | {gain:.2f} | {cells} |")
    return "\n".join(lines) + "\n"
