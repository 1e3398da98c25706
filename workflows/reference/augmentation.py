"""Random changes of training images: batches ``[n, C, H, W]`` in [-1, 1], new ones at every step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def flipped_and_shifted(images: Tensor, random: torch.Generator, largest_shift: int = 2) -> Tensor:
    """Flip each image with probability one half, and shift the whole batch by the same few pixels."""
    flip = torch.rand(len(images), generator=random, device=images.device) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    dy, dx = torch.randint(-largest_shift, largest_shift + 1, (2,), generator=random, device=images.device).tolist()
    padded = functional.pad(images, [largest_shift] * 4, value=-1.0)
    rows = slice(largest_shift + dy, largest_shift + dy + images.shape[2])
    columns = slice(largest_shift + dx, largest_shift + dx + images.shape[3])
    return padded[:, :, rows, columns]


def degraded(images: Tensor, random: torch.Generator) -> Tensor:
    """Blur, recolour and roughen each image a little, as a generator would; a third of the blurs and noises are none.

    Pixels stay where they are, so label maps stay true.
    """

    def each(n_channels: int = 1) -> Tensor:
        return torch.rand(len(images), n_channels, 1, 1, generator=random, device=images.device)

    blurred = functional.avg_pool2d(functional.pad(images, [1] * 4, mode="replicate"), 3, stride=1)
    images = torch.lerp(images, blurred, (each() * 1.2 - 0.4).clamp(min=0))
    gain = 1 + 0.16 * (each(images.shape[1]) - 0.5)
    offset = 0.16 * (each(images.shape[1]) - 0.5)
    noise = torch.randn(images.shape, generator=random, device=images.device)
    return images * gain + offset + noise * (each() * 0.15 - 0.05).clamp(min=0)
