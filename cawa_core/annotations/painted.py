"""Painted label maps: PNG files whose colours stand for labels."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cawa_core.annotations.base import Colour
from cawa_core.errors import InputError, counted, first_line
from cawa_core.generators.base import Generator
from cawa_core.real_images.preprocessing import DECODING_ERRORS

OPAQUE = 255


@dataclasses.dataclass(frozen=True)
class Painted:
    """Pixels of a painted PNG.

    Attributes:
        path: path of the file, for errors.
        pixels: colours, uint8 ``[S, S, 3]``.
        opaque: which pixels are opaque, bool ``[S, S]``.
    """

    path: str
    pixels: NDArray[np.uint8]
    opaque: NDArray[np.bool_]

    @classmethod
    def of(cls, path: str, content: bytes, generator: Generator) -> Painted:
        """Decode a PNG that is as large as the images of a generator; its size is checked before it is decoded.

        Raises:
            InputError: it has another size, is no PNG, or has more than 8 bits per colour; one line.
        """
        side = generator.image_size
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked before decoding
                image = Image.open(io.BytesIO(content), formats=["PNG"])
            if image.size != (side, side):
                width, height = image.size
                raise InputError(
                    f"{path} must have {side} x {side} pixels, as the images of {generator.name}; got {width} x "
                    f"{height}: paint at that size, label maps are not resized"
                )
            image.load()
        except InputError:
            raise
        except UnidentifiedImageError:
            raise InputError(f"{path} must be a PNG image; it does not decode: it is something else") from None
        except DECODING_ERRORS as error:
            raise InputError(f"{path} must be a PNG image; it does not decode ({first_line(error)})") from None
        if image.mode == "F" or image.mode.startswith("I"):
            raise InputError(f"{path} must have 8 bits per colour; it has more, save it as an RGB or palette image")
        opaque = np.ones((side, side), bool)
        if image.has_transparency_data:
            opaque = np.array(image.convert("RGBA"))[..., 3] == OPAQUE
        return cls(path, np.array(image.convert("RGB")), opaque)

    def labels(self, label_of: Mapping[int, int], remedy: str) -> NDArray[np.int16]:
        """Return the label of each pixel: int16 ``[S, S]``.

        Args:
            label_of: label of each colour, by :func:`code_of`.
            remedy: what to do about a colour without a label.

        Raises:
            InputError: a colour has no label; one line.
        """
        codes = (self.pixels.astype(np.int32) * (2**16, 2**8, 1)).sum(axis=2)
        colours, places = np.unique(codes, return_inverse=True)
        for code in colours.tolist():
            if code not in label_of:
                rows, columns = np.nonzero(codes == code)
                colour = self.pixels[rows[0], columns[0]].tolist()
                raise InputError(
                    f"{self.path} has {counted(len(rows), 'pixel')} of colour {colour}, the first at x = "
                    f"{columns[0]}, y = {rows[0]}; {remedy}"
                )
        return np.array([label_of[code] for code in colours.tolist()], np.int16)[places].reshape(codes.shape)


def code_of(colour: Colour) -> int:
    """Return a colour as one number."""
    red, green, blue = colour
    return (red << 16) + (green << 8) + blue
