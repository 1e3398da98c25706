"""Registry of segmenters: what says which concept each pixel of an image shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cawa_core.registry import Registry

if TYPE_CHECKING:
    from cawa_core.segmenters.base import Segmenter

SEGMENTERS: Registry[Segmenter] = Registry("segmenter", group="cawa.segmenters")
SEGMENTERS.register("scenes-segmenter", "cawa_core.segmenters.scenes:ScenesSegmenter.bundled")
SEGMENTERS.register("garment-parts", "cawa_core.segmenters.garment_parts:GarmentParts.of")
SEGMENTERS.register_family("torchvision", "cawa_core.segmenters.torchvision_models:load_torchvision")
