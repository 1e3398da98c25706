"""Channels and dimensions that a few ticked images share (after the detector of Wu et al. 2021, StyleSpace).

Each channel's ratio β/γ is standardised by its closed-form distribution over the latents of the class, and each
dimension of the latent code by its own. What all ticked images share stands out: a mean far from zero, with a small
deviation. Since β/γ has no variance, its spread is the robust one, from the quartiles (paper, Appendix A).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cawa_core.errors import InputError

Array = NDArray[np.float64]

MOST_DEVIATIONS = 5.0
"""Standardised ratios are clipped to it: a gain near zero makes a ratio of any size."""
FEWEST_POSITIVES = 2


@dataclasses.dataclass(frozen=True)
class Shared:
    """Values that positive images share at each channel or dimension, ``[C]`` each.

    Attributes:
        mean, deviation: mean and standard deviation over the positives, of standardised values.
        relevance: ``|mean| / (deviation + 1/√n)``.
    """

    mean: Array
    deviation: Array
    relevance: Array

    @property
    def order(self) -> NDArray[np.int64]:
        """Indices, the most relevant first."""
        return np.argsort(-self.relevance, kind="stable")


def shared(standardised: Array) -> Shared:
    """Rank channels or dimensions by what positive images share.

    The deviation is regularised by 1/√n, so that a few equal values by chance do not win.

    Args:
        standardised: values of the positives in standard deviations from the mean of the class ``[n, C]``.

    Raises:
        InputError: fewer than two positives.
    """
    count = len(standardised)
    if count < FEWEST_POSITIVES:
        raise InputError(f"positives must be at least {FEWEST_POSITIVES} images; got {count}")
    values = np.clip(np.nan_to_num(standardised), -MOST_DEVIATIONS, MOST_DEVIATIONS)
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    return Shared(mean, deviation, np.abs(mean) / (deviation + 1 / np.sqrt(count)))
