"""From log-probabilities with and without a mask to the effect of the mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def masking_effects(unmasked: NDArray[np.float64], masked: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Signed and absolute changes of probability and log-probability, with standard errors.

    Args:
        unmasked: log-probabilities of the class ``[n]``.
        masked: the same latents masked ``[n_masks, n]``.

    Returns:
        The effect columns of the ``masking`` table, ``[n_masks]`` each. Positive: the mask hurts.
    """
    changes = {"score_change": np.exp(unmasked) - np.exp(masked), "log_score_change": unmasked - masked}
    columns = {}
    for name, change in changes.items():
        for suffix, values in (("", change), ("_abs", np.abs(change))):
            columns[f"{name}{suffix}"] = values.mean(axis=1)
            columns[f"{name}{suffix}_stderr"] = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return columns
