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

SMALLEST, LARGEST = 2.0**-12, 2.0**12
"""Smallest and largest threshold above zero; a threshold beyond the largest is infinity."""
_FIRST = 0x3980
"""Upper 16 bits of the smallest threshold: bfloat16 numbers have the eight bits of the exponent and seven others."""
_LAST = 0x4580
_INFINITY = 0x7F800000
N_STEPS = _LAST - _FIRST + 3
"""Number of thresholds: 0, the bfloat16 numbers from the smallest to the largest, and infinity."""


def enlarged(features: Tensor, side: int) -> Tensor:
    """Enlarge features ``[n, c, h, w]`` to ``[n, c, side, side]``: bilinear, with half-pixel centres.

    Thresholds come after this: features that are thresholded first cover other pixels (METHODS of Bau et al.'s first
    public code).
    """
    if features.shape[2:] == (side, side):
        return features.float()
    return functional.interpolate(features.float(), (side, side), mode="bilinear", align_corners=False)


def steps(features: Tensor) -> Tensor:
    """Return the index of the smallest threshold that is not below each value, int32 in 0..N_STEPS - 1.

    Args:
        features: nonnegative float32 values of any shape.

    Raises:
        InputError: a value is negative or not a number, so these are not features after a ReLU.
    """
    values = features.detach().contiguous() + 0.0  # -0 becomes 0
    bits = values.view(torch.int32)
    if values.numel() and not (int(bits.min()) >= 0 and int(bits.max()) <= _INFINITY):
        raise InputError("features after a ReLU must be numbers of at least 0; got a negative one, or not a number")
    above_zero = ((bits + 0xFFFF) >> 16).clamp_(_FIRST, _LAST + 1).sub_(_FIRST - 1)
    return above_zero.mul_(bits != 0)


def value_of(step: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the thresholds of some steps, as float32."""
    step = np.asarray(step, np.int32)
    values = ((step + (_FIRST - 1)) << 16).view(np.float32)
    return np.where(step == 0, np.float32(0), np.where(step == N_STEPS - 1, np.float32(np.inf), values))
