"""Pixels as files hold them, uint8 in [0, 255], and as models take them, float32 in [-1, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def as_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] => uint8, rounded: what a picture file would hold."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).byte()


def as_floats(pixels: Tensor) -> Tensor:
    """Images in uint8 => float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def as_pixels(image: Tensor) -> NDArray[np.uint8]:
    """One image ``[1 or 3, H, W]`` in [-1, 1] as pixels ``[H, W]`` or ``[H, W, 3]``."""
    pixels: NDArray[np.uint8] = as_bytes(image).cpu().numpy()
    return np.moveaxis(pixels, 0, -1).squeeze(-1) if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
