"""Where in a picture an edit is allowed: shades of grey, or parts of a label map that ``cawa segment`` wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cawa_core.errors import InputError


def region_pixels(path: str, parts: Sequence[int] = ()) -> NDArray[np.float32]:
    """How much of a change each pixel of a picture gets, ``[H, W]`` in [0, 1].

    Args:
        path: of the picture.
        parts: where it is a map with labels as palette indices, those that get all of the change, others none; empty:
            shades of grey, white being all.

    Raises:
        InputError: no picture, labels that it does not have, or a map of labels without ``parts``.
    """
    if not path:
        raise InputError("parts are labels of a map; give one by --region, `cawa segment` writes them into maps/")
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError as error:
        raise InputError(f"region {path} cannot be read as a picture: {error}") from None
    if parts:
        return _of_parts(picture, path, parts)
    if picture.mode == "P" and not _is_grey(picture):
        raise InputError(
            f"region {path} holds labels, not shades of grey; choose some of them by --parts: {_listed(picture)}"
        )
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise InputError(
            f"region {path} must have 8 bits a channel; it has mode {picture.mode}, whose shades would be clipped: "
            "save it as 8-bit grey"
        )
    return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def _of_parts(picture: Image.Image, path: str, parts: Sequence[int]) -> NDArray[np.float32]:
    if picture.mode != "P":
        raise InputError(
            f"parts are for a region with labels as palette indices, as `cawa segment` writes into maps/; {path} has "
            f"mode {picture.mode}: leave out --parts, or give such a map"
        )
    labels = np.asarray(picture)
    for part in parts:
        if part not in labels:
            raise InputError(f"parts must be among the labels of region {path}, {_listed(picture)}; got {part}")
    return np.isin(labels, parts).astype(np.float32)


def _is_grey(picture: Image.Image) -> bool:
    shades = np.asarray(picture.convert("RGB"))
    return bool((shades == shades[..., :1]).all())


def _listed(picture: Image.Image) -> str:
    return ", ".join(map(str, np.unique(np.asarray(picture))))
