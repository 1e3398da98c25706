"""``garment-parts``: where a bright object on black is, and its parts by simple geometry; needs no labels."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.digests import digest_of_data
from cawa_core.errors import InputError
from cawa_core.segmentation.clustering import bright_foreground
from cawa_core.segmenters.base import Segmenter, SegmenterRequest

CONCEPTS = ("background", "garment", "outline", "inside", "upper half", "lower half", "left half", "right half")


class GarmentParts(Segmenter):
    """Otsu's foreground, its outline one pixel wide, the rest inside, and its halves by height and width.

    A half ends at the middle of the object's bounding box; the middle row or column belongs to neither half.
    """

    name = "garment-parts"
    protocol = "garment-parts; foreground above Otsu's threshold of the mean over colours; parts by geometry"
    concepts = CONCEPTS
    digest = digest_of_data([protocol, *CONCEPTS])

    @classmethod
    def of(cls, request: SegmenterRequest) -> Self:
        """Return the rule; it has no weights."""
        request.require_no_weights()
        return cls()

    def segment(self, images: Tensor) -> Tensor:
        """Label images of bright objects on black, ``[n, C, H, W]`` in [-1, 1]: bool ``[n, 8, H, W]``."""
        if images.ndim != 4:
            raise InputError(f"segmenter {self.name} needs images [n, C, H, W]; got {list(images.shape)}")
        garment = torch.from_numpy(bright_foreground(images)).to(images.device)
        # Outside the image counts as garment, so that a garment that is cut off has no outline there.
        surrounded = functional.pad((~garment).float()[:, None], (1, 1, 1, 1))
        inside = garment & (functional.max_pool2d(surrounded, 3, stride=1)[:, 0] == 0)
        upper, lower = _halves(garment, dim=1)
        left, right = _halves(garment, dim=2)
        parts = (~garment, garment, garment & ~inside, inside, upper, lower, left, right)
        return torch.stack(parts, dim=1)


def _halves(garment: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Divide masks ``[n, H, W]`` at the middle of their bounding boxes along rows (1) or columns (2)."""
    occupied = garment.any(dim=3 - dim)
    places = torch.arange(occupied.shape[1], device=garment.device)
    first = torch.where(occupied, places, occupied.shape[1]).amin(dim=1, keepdim=True)
    last = torch.where(occupied, places, -1).amax(dim=1, keepdim=True)
    twice = 2 * places - (first + last)
    before, after = ((twice < 0).unsqueeze(3 - dim), (twice > 0).unsqueeze(3 - dim))
    return garment & before, garment & after
