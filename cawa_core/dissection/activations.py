"""Features on the grid of the images, and their order in 16 bits, by which everything is counted exactly.

A threshold is a bfloat16 number. Whether a float32 value exceeds it then shows in the upper 16 bits of its
representation, rounded up, so that thousands of values are placed among the thresholds by a look into a table.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cawa_core.errors import InputError

N_STEPS = 0x7F80 + 1
"""Number of nonnegative bfloat16 numbers, from 0 to infinity."""


def enlarged(features: Tensor, side: int) -> Tensor:
    """Enlarge features ``[n, c, h, w]`` to ``[n, c, side, side]``: bilinear, with half-pixel centres.

    Thresholds come after this: features that are thresholded first cover other pixels (METHODS of Bau et al.'s first
    public code).
    """
    if features.shape[2:] == (side, side):
        return features.float()
    return functional.interpolate(features.float(), (side, side), mode="bilinear", align_corners=False)


def steps(features: Tensor) -> Tensor:
    """Return the index of the smallest nonnegative bfloat16 number that is not below each value, int32.

    Args:
        features: nonnegative float32 values of any shape.

    Raises:
        InputError: a value is negative or not a number, so these are not features after a ReLU.
    """
    values = features.detach().contiguous() + 0.0  # -0 becomes 0
    bits = values.view(torch.int32)
    result = (bits + 0xFFFF) >> 16
    if result.numel() and not (bits.min() >= 0 and bits.max() <= 0x7F800000):
        raise InputError("features after a ReLU must be numbers of at least 0; got a negative one, or not a number")
    return result


def value_of(step: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the bfloat16 numbers of some steps, as float32."""
    return (np.asarray(step, np.int32) << 16).view(np.float32)
