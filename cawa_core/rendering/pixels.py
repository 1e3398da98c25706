"""Conversion between the pixels of files, uint8 in [0, 255], and of models, float32 in [-1, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cawa_core.rendering.grids import png_of


def as_bytes(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to uint8 by rounding, as an image file stores them."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).byte()


def as_floats(pixels: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def as_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Convert an image ``[1 or 3, H, W]`` in [-1, 1] to pixels ``[H, W]`` or ``[H, W, 3]``."""
    channels: NDArray[np.uint8] = as_bytes(image).cpu().numpy()
    pixels = np.moveaxis(channels, 0, -1)
    return pixels.squeeze(-1) if len(channels) == 1 else pixels


def to_png(image: Tensor) -> bytes:
    """Encode one image ``[1 or 3, H, W]`` in [-1, 1] as PNG."""
    return png_of(Image.fromarray(as_pixels(image)))
