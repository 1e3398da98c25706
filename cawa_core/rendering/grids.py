"""Generated images and label maps as PNG, single and side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cawa_core.errors import InputError, first_line

GAP = 1
"""Gap between images in pixels."""
WEBP_QUALITY = 80
"""Quality of lossy pictures, of 100."""


COLOURS = (
    *((38, 44, 56), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    (204, 121, 167),
)
"""Colours of labels, the background first: Okabe and Ito's colour-blind-safe palette, repeated for more labels."""


def coloured(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colour of each label, uint8 ``[..., 3]``."""
    colours = np.array(COLOURS, dtype=np.uint8)
    places = np.where(labels == 0, 0, 1 + (labels.astype(int) - 1) % (len(colours) - 1))
    return colours[places]


def labels_to_png(labels: NDArray[np.uint8], numbers: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a label map as PNG whose palette indices are the labels.

    Args:
        labels: label of each pixel ``[H, W]``.
        numbers: colour number of each label ``[256]``, so that matching parts of several maps share a colour; None:
            the labels themselves.
    """
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette(coloured(np.arange(256, dtype=np.uint8) if numbers is None else numbers).ravel().tolist())
    return png_of(picture)


def png_of(picture: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def strip(pictures: Sequence[bytes | None], largest_side: int = 128) -> bytes:
    """Join PNG images in a row, each scaled to at most ``largest_side`` pixels, as one PNG."""
    return png_of(_side_by_side(pictures, largest_side))


def thumbnails_to_webp(pictures: Sequence[bytes | None], largest_side: int = 64) -> bytes:
    """Join PNG images in a row, each scaled to at most ``largest_side`` pixels, as one small, lossy WebP."""
    buffer = io.BytesIO()
    _side_by_side(pictures, largest_side).convert("RGB").save(buffer, format="WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def _side_by_side(pictures: Sequence[bytes | None], largest_side: int) -> Image.Image:
    images = [_picture_of(content) for content in pictures]
    for image in images:
        image.thumbnail((largest_side, largest_side))
    width, height = images[0].size
    sheet = Image.new(images[0].mode, (len(images) * (width + GAP) - GAP, height))
    for index, image in enumerate(images):
        sheet.paste(image, (index * (width + GAP), 0))
    return sheet


def _picture_of(png: bytes | None) -> Image.Image:
    """Decode a PNG that was read from a table; colours of a palette become RGB, which can be scaled."""
    try:
        picture = Image.open(io.BytesIO(png or b""), formats=["PNG"])
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"a table holds a picture of {len(png or b''):,} bytes that cannot be shown ({first_line(error)}); "
            "`cawa audit` with --replace and the name of its analysis draws it again"
        ) from None
    return picture.convert("RGB") if picture.mode == "P" else picture


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI for the ``src`` of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
