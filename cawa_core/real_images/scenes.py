"""Pictures of the procedural world ``scenes`` as real images: rendered when asked for, none on disk."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from cawa_core.digests import digest_of_data
from cawa_core.errors import InputError
from cawa_core.generators.class_tables import ClassTable
from cawa_core.real_images.base import RealImages, RealImagesRequest
from cawa_core.rendering.pixels import as_floats
from cawa_core.worlds.scenes.renderer import SIDES, VERSION, Scenes, render
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES

PER_CLASS = 1000
SEED = 0
"""Seed of the pictures; no bundled model was trained on pictures of this seed."""


class ScenesImages(RealImages):
    """Pictures 0 to ``per_class`` - 1 of every class of the world.

    Args:
        request: form of the generator's images; None for 32 pixels.
        per_class: pictures per class.
        seed: seed of the world.
    """

    name = "scenes"

    def __init__(self, request: RealImagesRequest | None = None, per_class: int = PER_CLASS, seed: int = SEED) -> None:
        self.side = SIDES[0]
        if request is not None:
            self.side = request.image_size if request.image_size in SIDES else SIDES[0]
            request.require_form(ClassTable(CLASS_NAMES), image_size=self.side, image_channels=3)
        if per_class < 1:
            raise InputError(f"per_class must be at least 1; got {per_class}")
        self.per_class = per_class
        self.seed = seed

    @property
    def digest(self) -> str:
        """SHA-256 of the renderer's version, the seed, the side and the number of pictures per class."""
        return digest_of_data({"renderer": VERSION, "seed": self.seed, "side": self.side, "n": self.per_class})

    def scenes_of(self, class_id: int) -> Scenes:
        """Return the pictures of a class with their label maps and attributes."""
        return _rendered(class_id, self.per_class, self.seed, self.side)

    def images_of(self, class_id: int) -> Tensor:
        """Return the pictures of a class, float32 ``[per_class, 3, side, side]`` in [-1, 1]."""
        return _as_tensor(self.scenes_of(class_id))

    def batches_of(self, class_id: int, size: int) -> Iterator[Tensor]:
        """Yield the pictures of a class, at most ``size`` at a time, each rendered when it is asked for."""
        for first in range(0, self.per_class, size):
            indices = range(first, min(first + size, self.per_class))
            scenes = render([class_id] * len(indices), indices, seed=self.seed, side=self.side)
            yield _as_tensor(scenes)

    def count_of(self, class_id: int) -> int:
        """Return the number of pictures of a class."""
        return self.per_class if 0 <= class_id < len(CLASS_NAMES) else 0


def _as_tensor(scenes: Scenes) -> Tensor:
    return as_floats(torch.from_numpy(scenes.images).permute(0, 3, 1, 2).contiguous())


@lru_cache(maxsize=2)
def _rendered(class_id: int, per_class: int, seed: int, side: int) -> Scenes:
    return render([class_id] * per_class, range(per_class), seed=seed, side=side)
