"""Projection discriminator (Miyato and Koyama 2018, arXiv 1802.05637) for small images."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class DiscriminatorBlock(nn.Module):
    """Residual block of two convolutions that optionally halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int, downsample: bool, first: bool = False) -> None:
        super().__init__()
        self.downsample = downsample
        self.first = first
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def shrink(self, x: Tensor) -> Tensor:
        """Average-pool by two if this block downsamples."""
        return functional.avg_pool2d(x, 2) if self.downsample else x

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: x ``[n, C_in, H, W]`` => ``[n, C_out, H', W']``."""
        hidden = self.conv1(x if self.first else functional.relu(x))
        return self.shrink(self.conv2(functional.relu(hidden))) + self.skip(self.shrink(x))  # type: ignore[no-any-return]


class ProjectionDiscriminator(nn.Module):
    """Projection discriminator of images given their class.

    Args:
        n_classes: number of classes.
        widths: channels after each block.
        downsample: for each block, whether it halves the resolution.
        image_channels: channels of the images.
    """

    def __init__(
        self,
        n_classes: int = 10,
        widths: tuple[int, ...] = (64, 128, 128),
        downsample: tuple[bool, ...] = (True, True, False),
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        sizes = pairwise((image_channels, *widths))
        self.blocks = nn.Sequential(
            *(
                DiscriminatorBlock(before, after, halves, first=number == 0)
                for number, ((before, after), halves) in enumerate(zip(sizes, downsample, strict=True))
            )
        )
        self.linear = nn.Linear(widths[-1], 1)
        self.embedding = nn.Embedding(n_classes, widths[-1])

    def forward(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Score realness: images ``[n, C, H, W]`` in [-1, 1], class_ids int64 ``[n]`` => logits ``[n]``."""
        features = functional.relu(self.blocks(images)).sum(dim=(2, 3))
        return self.linear(features).squeeze(1) + (self.embedding(class_ids) * features).sum(dim=1)  # type: ignore[no-any-return]
