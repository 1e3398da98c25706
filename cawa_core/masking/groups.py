"""Groups of channels that are masked together."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from cawa_core.generators.base import Channels


def awareness_order(category_awareness: NDArray[np.float64], inert: Collection[int] = ()) -> NDArray[np.int64]:
    """Sort the channels of a site by ascending category awareness ``[C]``: without inert ones, unknown ones first."""
    order = np.argsort(np.nan_to_num(category_awareness, nan=-np.inf), kind="stable")
    return order[~np.isin(order, list(inert))]


def consecutive_groups(order: NDArray[np.int64], size: int) -> list[Channels]:
    """Group neighbours in awareness order, ``size`` at a time (paper Appendix B: five); the last may be smaller."""
    if size < 1:
        raise ValueError(f"size must be at least 1; got {size}")
    return [tuple(order[start : start + size].tolist()) for start in range(0, len(order), size)]


def control_masks(
    order: NDArray[np.int64], fraction: float, repeats: int, random: np.random.Generator
) -> dict[str, list[Channels]]:
    """Return masks of a site for Fig. 3: no channels, then the lowest, random and highest ``fraction`` of them."""
    count = max(1, round(fraction * len(order)))
    draws = [tuple(sorted(random.choice(order, count, replace=False).tolist())) for _ in range(repeats)]
    return {
        "no_op": [()],
        "lowest": [tuple(order[:count].tolist())],
        "random": draws,
        "highest": [tuple(order[len(order) - count :].tolist())],
    }
