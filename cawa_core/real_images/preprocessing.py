"""Preprocessing of real images as for BigGAN's training, so that they match the generated ones.

Follows ajbrock/BigGAN-PyTorch at 9845943: ``pil_loader`` of ``datasets.py``, ``CenterCropLongEdge`` and the
transforms of ``get_data_loaders`` in ``utils.py``, without their random flips and jitter.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cawa_core.rendering.pixels import as_floats

PROTOCOL = (
    "first frame decoded by Pillow (BMP, GIF, JPEG, PNG, PPM, TIFF, WebP by content); converted to RGB, or to L for "
    "grey generators, by Pillow's convert; alpha dropped; EXIF orientation and colour profiles ignored; images of more "
    "than 8 bits a channel and files that do not decode to their end left out; centre crop to the shorter side, its "
    "corner rounded half to even; Pillow BILINEAR resize, which antialiases, on 8 bits; float32 x / 127.5 - 1"
)
"""Description of the preprocessing; part of every result's identity."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels of the generator's images."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Allowed formats of a file's content, whatever its name; some of Pillow's other decoders run external programs."""

DECODING_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Errors that Pillow's decoders raise for bad content."""


class UnreadableImageError(ValueError):
    """The content is not a complete image, or one that cannot be converted without loss of meaning."""


def to_square(image: Image.Image, side: int, channels: int = 3) -> Tensor:
    """Convert, crop and resize an image of any size and 8-bit mode to float32 ``[channels, side, side]`` in [-1, 1].

    Raises:
        UnreadableImageError: the image has more than 8 bits per channel, or colours that Pillow cannot convert.
        ValueError: ``channels`` is not 1 or 3.
    """
    if channels not in MODES:
        raise ValueError(f"channels must be 1 or 3; got {channels}")
    square = centre_crop(_convert(image, MODES[channels])).resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(square)).reshape(side, side, channels)
    return as_floats(pixels.permute(2, 0, 1).contiguous())


def centre_crop(image: Image.Image) -> Image.Image:
    """Crop the central square, whose side is the shorter side of the image."""
    side = min(image.size)
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def decode(content: bytes) -> Image.Image:
    """Decode the complete first frame of an encoded image.

    Raises:
        UnreadableImageError: the content is not an image, is cut short, or exceeds Pillow's limit of pixels.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
    except DECODING_ERRORS as error:
        raise UnreadableImageError(f"not a complete image: {error}") from error
    return image


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        raise UnreadableImageError(f"image must have 8 bits per channel, Pillow clips more; got mode {image.mode}")
    try:
        return image.convert(mode)
    except ValueError as error:
        raise UnreadableImageError(f"image must be convertible to {mode}; {error}") from error
