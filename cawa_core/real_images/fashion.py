"""The bundled 10,000 test images of Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), 1,000 per class."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core import assets
from cawa_core.digests import digest_of_data
from cawa_core.generators.class_tables import ClassTable
from cawa_core.real_images.base import RealImages, RealImagesRequest
from cawa_core.real_images.idx import read_idx
from cawa_core.rendering.pixels import as_floats

CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
IMAGES = "fashion_mnist/t10k-images-idx3-ubyte.gz"
LABELS = "fashion_mnist/t10k-labels-idx1-ubyte.gz"


class FashionMnistTest(RealImages):
    """Bundled real images; their digests are checked immediately, the files are read on first use."""

    name = "fashion-mnist-test"

    def __init__(self, request: RealImagesRequest | None = None) -> None:
        if request is not None:
            request.require_form(ClassTable(CLASS_NAMES), image_size=28, image_channels=1)
        self.paths = assets.verified(IMAGES), assets.verified(LABELS)

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of both files."""
        return digest_of_data([assets.recorded_digest(IMAGES), assets.recorded_digest(LABELS)])

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, labels = self.paths
        return read_idx(images), read_idx(labels)

    def images_of(self, class_id: int) -> Tensor:
        """Return the 1,000 images of a class in file order, float32 ``[1000, 1, 28, 28]`` in [-1, 1]."""
        images, labels = self._arrays
        return as_floats(torch.from_numpy(images[labels == class_id])[:, None])
