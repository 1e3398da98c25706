"""Error rates and power of the verdict on a correlation over classes, with and without outliers."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.intervals import bootstrap_counts, bootstrap_pearson
from cawa_core.statistics.metric_correlation import MetricCorrelation, metric_correlation
from cawa_core.statistics.permutation_null import random_orders
from cawa_core.statistics.verdicts import FAILS, HOLDS, OPEN, Estimate, rank_correlation

Array = NDArray[np.float64]

CLASSES = (10, 30, 100, 1000)
CORRELATIONS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
"""True rank correlations."""
SIMULATIONS = 400
RESAMPLES = 500
"""Bootstrap resamples and permutations; an audit takes more."""
DISTANCE = 8.0
"""Mean of the outliers in both quantities, in standard deviations of the others."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of the simulations.

    Attributes:
        holds, fails, opens: verdicts.
        pearson_holds: Pearson's r has a bootstrap interval above zero, the rule of earlier versions.
        flips: the verdict is another one without the outliers that were planted.
    """

    holds: float
    fails: float
    opens: float
    pearson_holds: float
    flips: float


def n_planted(n_classes: int) -> int:
    """Return the number of outliers that are planted: three, or one among ten classes."""
    return min(3, n_classes // 10)


def rates(n_classes: int, rho: float, n_outliers: int, simulations: int = SIMULATIONS) -> Rates:
    """Simulate normal quantities over classes.

    Args:
        n_classes: number of classes.
        rho: true rank correlation of all but the outliers.
        n_outliers: classes far above the others in both quantities, which raise the correlation.
        simulations: number of simulations.
    """
    random = np.random.default_rng((n_classes, int(100 * rho), n_outliers))
    counts: Counter[str] = Counter()
    for seed in range(simulations):
        x, y = quantities(n_classes, rho, n_outliers, random)
        correlation = decided(x, y, seed)
        counts[correlation.verdict] += 1
        counts["pearson"] += bootstrap_pearson(x, y, RESAMPLES, random).low > 0
        if n_outliers:
            counts["flips"] += decided(x[n_outliers:], y[n_outliers:], seed).verdict != correlation.verdict
    return Rates(*(counts[name] / simulations for name in (HOLDS, FAILS, OPEN, "pearson", "flips")))


def quantities(n_classes: int, rho: float, n_outliers: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Return two normal quantities of a rank correlation ``[n_classes]``; the first classes are outliers."""
    r = 2 * np.sin(np.pi * rho / 6)
    x, noise = random.standard_normal((2, n_classes))
    y = r * x + np.sqrt(1 - r**2) * noise
    for values in (x, y):
        values[:n_outliers] = DISTANCE + random.standard_normal(n_outliers)
    return x, y


def decided(x: Array, y: Array, seed: int) -> MetricCorrelation:
    """Decide whether the correlation is positive, as an audit does; equally many classes share their resamples."""

    def estimate(x: Array, y: Array) -> Estimate:
        random = np.random.default_rng(seed)
        resamples = bootstrap_counts(len(x), RESAMPLES, random)
        return rank_correlation(x, y, resamples, random_orders(len(x), RESAMPLES, random))

    return metric_correlation(x, y, 1, estimate)


def correlation_table() -> str:
    """Simulate all settings and return their table."""
    lines = [
        "| classes | outliers | true ρ | holds | open | does not hold | r > 0 with its interval | "
        "flips without outliers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n_classes in CLASSES:
        for n_outliers in (0, n_planted(n_classes)):
            for rho in CORRELATIONS if not n_outliers else (0.0, 0.3):
                simulations = SIMULATIONS if n_classes < 1000 else SIMULATIONS // 8
                simulated = rates(n_classes, rho, n_outliers, simulations)
                shares = (simulated.holds, simulated.opens, simulated.fails, simulated.pearson_holds)
                cells = [f"{share:.1%}" for share in shares]
                cells.append(f"{simulated.flips:.1%}" if n_outliers else "–")
                lines.append(f"| {n_classes:,} | {n_outliers} | {rho:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
