"""A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597), the network of ``scenes-segmenter``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.evaluators.small_cnn import convolution

SCENES_SEGMENTER_WEIGHTS = "scenes_segmenter.safetensors"


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(convolution(in_channels, out_channels), convolution(out_channels, out_channels))


class SmallUNet(nn.Module):
    """U-Net of three resolutions: one logit per label and pixel.

    Args:
        n_labels: number of labels.
        image_channels: channels of the images.
        widths: channels at full, half and a quarter of the resolution.
    """

    def __init__(
        self, n_labels: int = 11, image_channels: int = 3, widths: tuple[int, int, int] = (32, 64, 96)
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.down = nn.ModuleList([_pair(image_channels, fine), _pair(fine, middle), _pair(middle, coarse)])
        self.up = nn.ModuleList([_pair(coarse + middle, middle), _pair(middle + fine, fine)])
        self.head = nn.Conv2d(fine, n_labels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``[n, n_labels, H, W]`` of images ``[n, image_channels, H, W]``, H and W multiples of 4."""
        fine = self.down[0](images)
        middle = self.down[1](functional.max_pool2d(fine, 2))
        x = self.down[2](functional.max_pool2d(middle, 2))
        for block, skip in zip(self.up, (middle, fine), strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
