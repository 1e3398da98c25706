"""Regions that limit an edit: shades of grey, or parts of a label map that ``cawa segment`` wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cawa_core.errors import InputError, listed
from cawa_core.paths import user_path
from cawa_core.real_images.preprocessing import DECODING_ERRORS, FORMATS


def region_pixels(path: str, parts: Sequence[int] = ()) -> NDArray[np.float32]:
    """Return the weight of an edit at each pixel, ``[H, W]`` in [0, 1].

    Args:
        path: path of the picture.
        parts: labels whose pixels get weight 1, and all other pixels 0, if the picture has labels as palette indices;
            empty if the picture has shades of grey, where white is 1.

    Raises:
        InputError: the file is not a picture, does not have these labels, or is a label map without ``parts``.
    """
    if not path:
        raise InputError("parts are labels of a map; give one by --region, see maps/ of `cawa segment`")
    try:
        with Image.open(user_path(path), formats=FORMATS) as picture:
            picture.load()
    except DECODING_ERRORS as error:
        raise InputError(f"region {path} cannot be read as a picture: {error}") from None
    if parts:
        return _part_weights(picture, path, parts)
    if picture.mode == "P" and not _is_grey(picture):
        raise InputError(
            f"region {path} contains labels, not shades of grey; choose some of them by --parts: {_label_list(picture)}"
        )
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise InputError(
            f"region {path} must have 8 bits per channel; it has mode {picture.mode}, which would be clipped: "
            "save it as 8-bit grey"
        )
    return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def _part_weights(picture: Image.Image, path: str, parts: Sequence[int]) -> NDArray[np.float32]:
    if picture.mode != "P":
        raise InputError(
            f"parts are for a region with labels as palette indices, as `cawa segment` writes to maps/; {path} has "
            f"mode {picture.mode}: leave out --parts, or give such a map"
        )
    labels = np.asarray(picture)
    for part in parts:
        if part not in labels:
            raise InputError(f"parts must be among the labels of region {path}, {_label_list(picture)}; got {part}")
    return np.isin(labels, parts).astype(np.float32)


def _is_grey(picture: Image.Image) -> bool:
    shades = np.asarray(picture.convert("RGB"))
    return bool((shades == shades[..., :1]).all())


def _label_list(picture: Image.Image) -> str:
    return listed(np.unique(np.asarray(picture)))
