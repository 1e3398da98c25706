"""Attributes that are measured on the pixels of any image: brightness, colours, symmetry, and its object.

The object is what stands out from the border of the image: the pixels whose brightness differs from the median of the
border by more than Otsu's threshold.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cawa_core.segmentation.clustering import bright_foreground

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""
SMALLEST_PART = 0.005
"""Share of the pixels that a part of the object must have, to count."""
EPSILON = 1e-6

OF_PIXELS = ("brightness", "contrast", "symmetry")
OF_COLOURS = ("warmth", "saturation")
OF_OBJECT = ("object area", "object aspect", "object parts")


def attribute_names(image_channels: int) -> tuple[str, ...]:
    """Return the names of the attributes of images with 1 or 3 channels; those with gradients come first."""
    return (*pixel_attribute_names(image_channels), *OF_OBJECT)


def pixel_attribute_names(image_channels: int) -> tuple[str, ...]:
    """Return the names of the attributes that have gradients."""
    return (*OF_PIXELS, *(OF_COLOURS if image_channels == 3 else ()))


def luma(images: Tensor) -> Tensor:
    """Return the brightness of pixels in [0, 1], ``[n, H, W]``, of images ``[n, C, H, W]`` in [-1, 1]."""
    pixels = (images.float() + 1) / 2
    if pixels.shape[1] != len(LUMA):
        return pixels.mean(dim=1)
    # a sum of products, because autocast would round the factors of a matrix product
    return (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1)


def pixel_attributes(images: Tensor) -> Tensor:
    """Measure the attributes that have gradients, ``[n, attributes]`` in the order of :func:`pixel_attribute_names`.

    Brightness is the mean luma, contrast its standard deviation, symmetry its correlation with the mirror image,
    warmth the mean of red less blue, and saturation the mean of the strongest less the weakest colour.

    Args:
        images: ``[n, C, H, W]`` in [-1, 1].
    """
    brightness = luma(images)
    centred = brightness - brightness.mean(dim=(1, 2), keepdim=True)
    variance = centred.square().mean(dim=(1, 2))
    mirrored = (centred * centred.flip(2)).mean(dim=(1, 2))
    columns = [brightness.mean(dim=(1, 2)), (variance + EPSILON).sqrt(), mirrored / (variance + EPSILON)]
    if images.shape[1] == len(LUMA):
        pixels = (images.float() + 1) / 2
        columns.append((pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2)))
        columns.append((pixels.amax(dim=1) - pixels.amin(dim=1)).mean(dim=(1, 2)))
    return torch.stack(columns, dim=1)


def object_attributes(images: Tensor) -> Tensor:
    """Measure the object of each image: share of the pixels, height over width, and number of parts, ``[n, 3]``.

    Height and width are standard deviations of the rows and columns of its pixels, so that the aspect of a square is 1.
    Parts are regions that touch at edges, each at least half a percent of the image.

    Args:
        images: ``[n, C, H, W]`` in [-1, 1].
    """
    objects = foreground(images)
    area = objects.mean(axis=(1, 2))
    columns = np.stack([area, _aspect(objects), _parts(objects)], axis=1)
    return torch.from_numpy(columns.astype(np.float32)).to(images.device)


def foreground(images: Tensor) -> NDArray[np.bool_]:
    """Find the pixels that stand out from the border of their image: ``[n, C, H, W]`` => bool ``[n, H, W]``."""
    brightness = luma(images)
    edges = brightness[:, 0], brightness[:, -1], brightness[:, 1:-1, 0], brightness[:, 1:-1, -1]
    border = torch.cat(edges, dim=1).median(dim=1).values
    difference = (brightness - border[:, None, None]).abs()
    return bright_foreground(2 * difference[:, None] - 1)


def _aspect(objects: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return height over width; 1 for an image without an object."""
    deviations = []
    for axis in (2, 1):
        weights = objects.sum(axis=axis).astype(np.float64)  # [n, H] or [n, W]
        mass = np.maximum(weights.sum(axis=1, keepdims=True), 1)
        places = np.arange(weights.shape[1])
        centre = (weights * places).sum(axis=1, keepdims=True) / mass
        deviations.append(np.sqrt((weights * np.square(places - centre)).sum(axis=1) / mass[:, 0] + 1 / 12))
    return np.asarray(deviations[0] / deviations[1])


def _parts(objects: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the connected regions of each image, all images in one labelling."""
    within_images = np.zeros((3, 3, 3), dtype=bool)
    within_images[1] = ndimage.generate_binary_structure(2, 1)
    regions, n_regions = ndimage.label(objects, within_images)
    sizes = np.bincount(regions.ravel(), minlength=n_regions + 1)
    is_part = sizes >= SMALLEST_PART * objects[0].size
    is_part[0] = False
    image_of = np.zeros(n_regions + 1, dtype=np.int64)
    images = np.broadcast_to(np.arange(len(objects))[:, None, None], objects.shape)
    image_of[regions[objects]] = images[objects]
    return np.bincount(image_of[is_part], minlength=len(objects)).astype(np.float64)
