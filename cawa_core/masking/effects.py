"""Effects of masks, and their standard errors, from log-probabilities with and without each mask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cawa_core.masking.sampling import Estimate, sample_mean

Array = NDArray[np.float64]
Columns = dict[str, NDArray[np.float64]]


def changes(unmasked: Array, masked: Array) -> dict[str, Array]:
    """Compute signed and absolute changes of probability and log-probability per latent; positive: the mask hurts.

    Args:
        unmasked: log-probabilities of the class ``[n]``.
        masked: log-probabilities of the same latents under each mask ``[n_masks, n]``.

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
    """Average :func:`changes` over latents: means and standard errors, ``[n_masks]`` each."""
    return effect_columns({name: sample_mean(values) for name, values in changes(unmasked, masked).items()})


def effect_columns(estimates: Mapping[str, Estimate]) -> Columns:
    """Convert estimates, by name of the effect, to columns of the ``masking`` table."""
    return {
        f"{name}{suffix}": values
        for name, estimate in estimates.items()
        for suffix, values in (("", estimate.mean), ("_stderr", estimate.stderr))
    }
