"""Layouts and painted images as PNG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cawa_core.rendering.grids import png_of
from cawa_core.rendering.label_colours import coloured, painted_on
from cawa_core.rendering.pixels import as_pixels, to_png


def layout_png(layout: Tensor) -> bytes:
    """Encode a layout, categories ``[S, S]``, in the colours of the labels."""
    return _png(coloured(layout.clamp(min=0).cpu().numpy()))


def painted_pngs(image: Tensor, strokes: Tensor, edited: Tensor) -> list[bytes]:
    """Return an image ``[C, S, S]``, the same with strokes ``[S, S]`` painted on it, and what it became, as PNG."""
    return [to_png(image), _png(painted_on(as_pixels(image), strokes.cpu().numpy())), to_png(edited)]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return png_of(Image.fromarray(pixels))
