"""Convolution between one site's ReLU and the next, and the change of its output under masked or scaled channels.

A convolution is linear, so scaling a channel changes the output in proportion to that channel's contribution. This
costs 1/C_in of the work of another convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.generators.channel_masks import ChannelMasks

PARITIES = (0, 1)


class SiteConvolution(nn.Module):
    """A convolution of stride 1 that keeps the resolution.

    Args:
        convolution: convolution of ``k x k`` with padding ``k // 2``, k odd.

    Raises:
        ValueError: the convolution is of another kind.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        side = convolution.kernel_size[0]
        keeps_resolution = (
            side % 2 == 1
            and convolution.kernel_size == (side, side)
            and convolution.padding == (side // 2, side // 2)
            and convolution.stride == (1, 1)
            and convolution.dilation == (1, 1)
            and convolution.groups == 1
        )
        if not keeps_resolution:
            raise ValueError(f"convolution must keep the resolution, with one group and stride 1; got {convolution}")
        self.padding = side // 2
        self.register_buffer("weight", convolution.weight.detach())
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())

    def forward(self, features: Tensor) -> Tensor:
        """Convolve: ``[n, C_in, H, W]`` => ``[n, C_out, H, W]``."""
        result: Tensor = functional.conv2d(features, self.weight, self.bias, padding=self.padding)
        return result

    def enlarge(self, features: Tensor) -> Tensor:
        """Return the input of the convolution proper, which here is the features themselves."""
        return features

    def under_masks(self, outputs: Tensor, features: Tensor, masks: ChannelMasks, factor: float = 0) -> Tensor:
        """Compute the output of :meth:`forward` with some input channels masked or scaled.

        Args:
            outputs: result of :meth:`forward` for the features.
            features: input of the convolution, ``[n, C_in, H, W]``.
            masks: channels masked together.
            factor: factor that a mask multiplies its channels by.

        Returns:
            ``[len(masks) · n, C_out, H, W]``, mask by mask; equal to another convolution up to rounding.
        """
        rows, weights = self._patches_and_weights(features, masks)
        channels_last = outputs.permute(0, 2, 3, 1)  # [n, H', W', C_out]
        flat = channels_last.reshape(1, -1, channels_last.shape[3]).expand(len(masks), -1, -1)
        masked: Tensor = torch.baddbmm(flat, rows, weights, alpha=factor - 1)
        return masked.reshape(-1, *channels_last.shape[1:]).permute(0, 3, 1, 2)

    def _patches_and_weights(self, features: Tensor, masks: ChannelMasks) -> tuple[Tensor, Tensor]:
        """Return the two factors of the masked channels' contributions.

        Returns:
            Patches ``[m, n · H' · W', K]`` and weights ``[m, K, C_out]``, with K taps of the widest mask.
        """
        index = masks.index
        side = self.weight.shape[2]
        widest = index.shape[1]
        maps = self.enlarge(features[:, index].transpose(0, 1))  # [m, n, c, H', W']
        padded_maps = functional.pad(maps, (self.padding,) * 4)
        patches = padded_maps.unfold(3, side, 1).unfold(4, side, 1)  # [m, n, c, H', W', k, k]
        rows = patches.permute(0, 1, 3, 4, 2, 5, 6).reshape(len(masks), -1, widest * side * side)
        weights = self.weight[:, index] * masks.present[None, :, :, None, None]  # [C_out, m, c, k, k]
        return rows, weights.permute(1, 2, 3, 4, 0).reshape(len(masks), widest * side * side, -1)


class UpsamplingConvolution(SiteConvolution):
    """Nearest-neighbour doubling followed by a 3 x 3 convolution, computed as one 2 x 2 convolution per output parity.

    Each output pixel reads at most two different input rows and columns, so the three taps fold into two for each of
    the four output parities. This needs 4/9 of the multiplications and no enlarged copy. The result equals
    ``convolution(interpolate(x, scale_factor=2, mode="nearest"))`` up to the rounding of the folded weights.

    Args:
        convolution: convolution of 3 x 3 with padding 1.

    Raises:
        ValueError: the convolution is not 3 x 3.
    """

    folded: Tensor
    transposed: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        if convolution.kernel_size != (3, 3):
            raise ValueError(f"convolution must be 3 x 3; got {convolution}")
        taps = [_fold(_fold(self.weight, 2, y), 3, x) for y in PARITIES for x in PARITIES]
        self.register_buffer("folded", torch.cat(taps).contiguous(memory_format=torch.channels_last))
        self.register_buffer("transposed", _transposed_kernel(taps))

    def forward(self, features: Tensor) -> Tensor:
        """Double the resolution and convolve: ``[n, C_in, H, W]`` => ``[n, C_out, 2H, 2W]``.

        A transposed convolution interleaves the parities by itself, but on a CPU it is slower at odd widths.
        """
        if features.shape[3] % 2:
            bias = None if self.bias is None else self.bias.repeat(4)
            return self._interleave(functional.conv2d(features, self.folded, bias, padding=1))
        result: Tensor = functional.conv_transpose2d(features, self.transposed, self.bias, stride=2, padding=1)
        return result

    def enlarge(self, features: Tensor) -> Tensor:
        """Double the resolution by nearest neighbours: ``[..., H, W]`` => ``[..., 2H, 2W]``."""
        return features.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    def _interleave(self, outputs: Tensor) -> Tensor:
        """Interleave outputs by parity: ``[n, 4 · C_out, H + 1, W + 1]`` => ``[n, C_out, 2H, 2W]``, channels last."""
        parts = outputs.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
        height = parts.shape[1] - 1
        width = parts.shape[2] - 1
        result: Tensor = parts.new_empty(len(parts), height, 2, width, 2, parts.shape[-1])
        for y in PARITIES:
            for x in PARITIES:
                result[:, :, y, :, x] = parts[:, y : y + height, x : x + width, y, x]
        return result.reshape(len(parts), 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class PlaneConvolution(SiteConvolution):
    """A convolution to very few planes, computed as one matrix product per tap and a sum of shifted planes.

    Libraries tile convolutions by output channel; for the one or three planes of an image, most of a tile is idle.

    Args:
        convolution: convolution of ``k x k`` with padding ``k // 2``, k odd.
    """

    taps: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        taps = self.weight.flip(2, 3).permute(1, 0, 2, 3).reshape(self.weight.shape[1], -1)
        self.register_buffer("taps", taps)  # [C_in, planes · k²]

    def forward(self, features: Tensor) -> Tensor:
        """Convolve: ``[n, C_in, H, W]`` => ``[n, planes, H, W]``."""
        side = self.weight.shape[2]
        products = (features.permute(0, 2, 3, 1) @ self.taps).to(features.dtype)  # [n, H, W, planes · k²]
        columns = products.permute(0, 3, 1, 2).flatten(2)
        images: Tensor = functional.fold(columns, features.shape[2:], side, padding=self.padding)
        return images if self.bias is None else images + self.bias[:, None, None]


def _fold(weight: Tensor, dim: int, parity: int) -> Tensor:
    """Fold three taps along a dimension into two: (w0, w1 + w2) for even output pixels, (w0 + w1, w2) for odd ones."""
    first, second, third = weight.unbind(dim)
    return torch.stack([first, second + third] if parity == 0 else [first + second, third], dim)


def _transposed_kernel(taps: Sequence[Tensor]) -> Tensor:
    """Combine taps by parity (y, x), ``[C_out, C_in, 2, 2]`` each, into a kernel ``[C_in, C_out, 4, 4]`` of stride 2.

    Its taps 3 and 1 compute the even output pixels, 2 and 0 the odd ones.
    """
    kernel = taps[0].new_empty(taps[0].shape[1], taps[0].shape[0], 4, 4)
    for parity_taps, (y, x) in zip(taps, product(PARITIES, PARITIES), strict=True):
        kernel[:, :, 1 - y :: 2, 1 - x :: 2] = parity_taps.transpose(0, 1).flip(2, 3)
    return kernel
