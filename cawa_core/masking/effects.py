"""From log-probabilities with and without a mask to the effect of the mask, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cawa_core.masking.sampling import Estimate, sample_mean

Array = NDArray[np.float64]
Columns = dict[str, NDArray[np.float64]]


def changes(unmasked: Array, masked: Array) -> dict[str, Array]:
    """Signed and absolute changes of probability and log-probability of each latent; positive: the mask hurts.

    Args:
        unmasked: log-probabilities of the class ``[n]``.
        masked: the same latents masked ``[n_masks, n]``.

    Returns:
        The effect columns of the ``masking`` table, ``[n_masks, n]`` each.
    """
    signed = {"score_change": np.exp(unmasked) - np.exp(masked), "log_score_change": unmasked - masked}
    return {
        name: values
        for target, change in signed.items()
        for name, values in ((target, change), (f"{target}_abs", np.abs(change)))
    }


def masking_effects(unmasked: Array, masked: Array) -> Columns:
    """Means over latents, with standard errors: arguments as of :func:`changes`, columns ``[n_masks]``."""
    return effect_columns({name: sample_mean(values) for name, values in changes(unmasked, masked).items()})


def effect_columns(estimates: Mapping[str, Estimate]) -> Columns:
    """Estimates by effect as the columns of the ``masking`` table."""
    return {
        f"{name}{suffix}": values
        for name, estimate in estimates.items()
        for suffix, values in (("", estimate.mean), ("_stderr", estimate.stderr))
    }
