"""Closeness of generated images to the real images of their class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cawa_core.class_metrics.realism import RealManifold, device_with_room

if TYPE_CHECKING:
    from workflows.lab.lab import Lab

ROLE = "manifold_features"
"""Role of the network whose features are compared."""


@torch.inference_mode()
def realism_of(lab: Lab, class_id: int, neighbours: int, images: Tensor) -> Tensor:
    """Return the realism of images ``[n, C, S, S]`` of a class: ``[n]``, NaN if the lab has no real images.

    The manifold of the class that was last asked for is remembered.
    """
    if lab.real_image_set is None:
        return images.new_full((len(images),), torch.nan)

    def build() -> RealManifold:
        features = lab.real_features(class_id, (ROLE,))[0][ROLE]
        return RealManifold.of(features.to(device_with_room(features, lab.generator.device)), neighbours)

    manifold = lab.memo.latest("manifold of real images", (class_id, neighbours), build)
    return manifold.realism(lab.networks[ROLE].features(images))
