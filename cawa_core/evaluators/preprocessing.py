"""Conversion of a generator's images to the input that a network was trained on; the protocol states every choice."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resizes the whole square image, then normalises each colour, in float32 throughout.

    Attributes:
        side: side of the network's input in pixels.
        mean, std: mean and deviation of each colour, for pixels in [0, 1].
        interpolation: interpolation of the antialiased resize; images of the right size are not resized.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def protocol(self) -> str:
        """Description of the preprocessing."""
        mean, std = (",".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return (
            f"[-1, 1] to [0, 1] float32, grey as three colours, whole image to {self.side} x {self.side} "
            f"{self.interpolation} antialiased, mean {mean}, std {std}"
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Convert images, float32 ``[n, 1 or 3, H, H]`` in [-1, 1], to network input ``[n, 3, side, side]``."""
        pixels = as_colour(images).float().add(1).div(2)
        if pixels.shape[2:] != (self.side, self.side):
            size = (self.side, self.side)
            pixels = functional.interpolate(pixels, size, mode=self.interpolation, antialias=True)
        return (pixels - by_colour(self.mean, images.device)) / by_colour(self.std, images.device)


@functools.cache
def by_colour(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return one value per colour, ``[1, c, 1, 1]``; cached, because every copy to a GPU would wait for it."""
    with torch.inference_mode(False):  # so that passes with gradients can use it too
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


def as_colour(images: Tensor) -> Tensor:
    """Expand grey images to three equal colours; return colour images unchanged.

    Raises:
        ValueError: the images have neither one nor three channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [n, 1 or 3, H, W]; got {list(images.shape)}")
    return images.expand(-1, 3, -1, -1)
