"""Colours of label maps, which tell any number of labels apart."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0.6180339887
"""Step along the circle of hues; steps of this size stay far apart, however many there are."""
LIGHTNESS = (0.60, 0.42, 0.76)
"""Values of lightness in turn, for hues that are close."""


def label_colours(number: int) -> NDArray[np.uint8]:
    """Return a colour for each label: uint8 ``[number, 3]``; the first ones stay the same whatever the number is."""
    hues = [(0.6 + GOLDEN * place) % 1 for place in range(number)]
    colours = [colorsys.hls_to_rgb(hue, LIGHTNESS[place % len(LIGHTNESS)], 0.65) for place, hue in enumerate(hues)]
    return np.round(255 * np.array(colours).reshape(-1, 3)).astype(np.uint8)


def coloured(categories: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colour maps of categories ``[..., S, S]``, 0 being nothing, which is black: uint8 ``[..., S, S, 3]``."""
    highest = int(categories.max(initial=0))
    palette = np.concatenate([np.zeros((1, 3), np.uint8), label_colours(highest)])
    return palette[categories]


def painted_on(pixels: NDArray[np.uint8], categories: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Paint categories ``[S, S]`` on an image, pixels ``[S, S]`` or ``[S, S, 3]``, except where they are negative."""
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return np.where((categories < 0)[..., None], rgb, coloured(np.maximum(categories, 0)))
