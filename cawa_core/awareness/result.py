"""The statistics that both estimators of channel awareness return."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

NORMAL_QUARTILE = 0.6744897501960817
"""Upper quartile of the standard normal distribution; half of its interquartile range, 1.349."""


@dataclasses.dataclass(frozen=True)
class Awareness:
    """Statistics of the channels of one site for several classes; float64 ``[n_classes, C]`` each.

    NaN marks a statistic that does not exist. The columns are those of the ``awareness`` table.
    """

    category_awareness: NDArray[np.float64]
    category_awareness_stderr: NDArray[np.float64]
    latent_awareness: NDArray[np.float64]
    latent_awareness_robust: NDArray[np.float64]
    gain_sign_probability: NDArray[np.float64]
    activation_probability: NDArray[np.float64]
    expected_activation: NDArray[np.float64]


def robust_variance(lower_quartile: NDArray[np.float64], upper_quartile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``((q75 - q25) / 1.349)²``, the variance of the normal distribution with these quartiles."""
    return np.square((upper_quartile - lower_quartile) / (2 * NORMAL_QUARTILE))
