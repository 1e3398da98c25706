"""Network of the bundled generators: a small BigGAN in which every site gets the whole latent.

The architecture follows Brock et al. 2019 (arXiv 1809.11096, Appendix B): residual blocks with two
class-conditional batch norms each, a shared class embedding, and, as in BigGAN-deep, the whole
``[z, e]`` at every site. The first linear layer gets only ``z``, so class information enters only
through the sites.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are those of ``fashion-biggan``.

    Attributes:
        z_dim, embed_dim: sizes of latent code and class embedding.
        n_classes: rows of the shared embedding.
        base_resolution: side of the first feature map.
        widths: channels before, between and after the blocks.
        upsample: for each block, whether it doubles the resolution.
        image_channels: channels of the images.
    """

    z_dim: int = 64
    embed_dim: int = 64
    n_classes: int = 10
    base_resolution: int = 7
    widths: tuple[int, ...] = (128, 128, 64, 64)
    upsample: tuple[bool, ...] = (False, True, True)
    image_channels: int = 1

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.base_resolution << sum(self.upsample)


class ClassConditionalBatchNorm(nn.Module):
    """Class-conditional batch norm ``y = (1 + W_γ[z, e]) · (x - μ) / σ + W_β[z, e]`` (paper eq. 1).

    Args:
        channels: number of feature channels C.
        condition_dim: size of the condition ``[z, e]``.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(condition_dim, channels, bias=False)
        self.offset = nn.Linear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise and modulate x ``[n, C, H, W]`` by the condition ``[n, z_dim + embed_dim]``."""
        gain = 1 + self.gain(condition)[:, :, None, None]
        return gain * self.normalise(x) + self.offset(condition)[:, :, None, None]  # type: ignore[no-any-return]


class GeneratorBlock(nn.Module):
    """Residual block: site, optional upsampling, convolution, site, convolution; and a 1 x 1 skip path.

    Args:
        in_channels, out_channels: number of channels before and after the block.
        condition_dim: size of the condition ``[z, e]``.
        upsample: whether the block doubles the resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = ClassConditionalBatchNorm(in_channels, condition_dim)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = ClassConditionalBatchNorm(out_channels, condition_dim)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def first_half(self, features: Tensor) -> Tensor:
        """Compute the input of the second site from the features after the first ReLU."""
        return self.conv1(self.enlarge(features))  # type: ignore[no-any-return]

    def second_half(self, features: Tensor, block_input: Tensor) -> Tensor:
        """Compute the block's output from the features after the second ReLU and the block's input."""
        return self.conv2(features) + self.enlarge(self.skip(block_input))  # type: ignore[no-any-return]

    def enlarge(self, x: Tensor) -> Tensor:
        """Double the resolution by nearest neighbours if this block upsamples."""
        return functional.interpolate(x, scale_factor=2.0, mode="nearest") if self.upsample else x

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute the block's output: ``[n, C_in, H, W]`` => ``[n, C_out, H', W']``."""
        hidden = self.first_half(functional.relu(self.norm1(x, condition)))
        return self.second_half(functional.relu(self.norm2(hidden, condition)), x)


class SmallBigGANNetwork(nn.Module):
    """The whole generator in its training form, from latents and classes to images.

    Args:
        architecture: sizes of the network; None for those of ``fashion-biggan``.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        shape = architecture or Architecture()
        self.architecture = shape
        condition_dim = shape.z_dim + shape.embed_dim
        self.embedding = nn.Embedding(shape.n_classes, shape.embed_dim)
        self.linear = nn.Linear(shape.z_dim, shape.widths[0] * shape.base_resolution**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(c_in, c_out, condition_dim, upsample)
            for (c_in, c_out), upsample in zip(pairwise(shape.widths), shape.upsample, strict=True)
        )
        self.norm = nn.BatchNorm2d(shape.widths[-1])
        self.to_image = nn.Conv2d(shape.widths[-1], shape.image_channels, 3, padding=1)

    def stem(self, z: Tensor) -> Tensor:
        """Compute the first feature map ``[n, C, base_resolution, base_resolution]`` from latents ``[n, z_dim]``."""
        side = self.architecture.base_resolution
        return self.linear(z).unflatten(1, (-1, side, side))  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        """Compute images ``[n, image_channels, H, W]`` in [-1, 1] from the output of the last block."""
        return torch.tanh(self.to_image(functional.relu(self.norm(x))))

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Compute images ``[n, image_channels, H, W]`` in [-1, 1] from z ``[n, z_dim]`` and class_ids int64 ``[n]``."""
        condition = torch.cat([z, self.embedding(class_ids)], dim=1)
        x = self.stem(z)
        for block in self.blocks:
            x = block(x, condition)
        return self.head(x)

    def conditional_norms(self) -> list[ClassConditionalBatchNorm]:
        """Return the class-conditional batch norms in forward order."""
        return [norm for block in self.generator_blocks() for norm in (block.norm1, block.norm2)]

    def generator_blocks(self) -> list[GeneratorBlock]:
        """Return the residual blocks in forward order."""
        return list(self.blocks)  # type: ignore[arg-type]
