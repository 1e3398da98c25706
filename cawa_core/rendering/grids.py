"""Pictures side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

GAP = 1
"""Pixels between pictures."""


def strip(pictures: Sequence[bytes], largest_side: int = 128) -> bytes:
    """PNG pictures in a row, each at most ``largest_side`` pixels, as one PNG."""
    images = [Image.open(io.BytesIO(content)) for content in pictures]
    for image in images:
        image.thumbnail((largest_side, largest_side))
    width, height = images[0].size
    sheet = Image.new(images[0].mode, (len(images) * (width + GAP) - GAP, height))
    for index, image in enumerate(images):
        sheet.paste(image, (index * (width + GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG for the ``src`` of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
