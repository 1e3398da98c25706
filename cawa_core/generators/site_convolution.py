"""The convolution between one site's ReLU and the next, and what masked or multiplied channels change in its output.

A convolution is linear, so multiplying a channel changes its output in proportion to that channel's own contribution:
one C_in-th of the work of convolving again.
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
        convolution: ``k x k`` with padding ``k // 2``, k odd.

    Raises:
        ValueError: another kind of convolution.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        side = convolution.kernel_size[0]
        kept = (side, side), (side // 2, side // 2), (1, 1), (1, 1), 1
        found = (*(convolution.kernel_size, convolution.padding, convolution.stride, convolution.dilation),)
        if (*found, convolution.groups) != kept or side % 2 == 0:
            raise ValueError(f"convolution must keep the resolution, with one group and stride 1; got {convolution}")
        self.padding = side // 2
        self.register_buffer("weight", convolution.weight.detach())
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())

    def forward(self, features: Tensor) -> Tensor:
        """``[n, C_in, H, W]`` => ``[n, C_out, H, W]``."""
        result: Tensor = functional.conv2d(features, self.weight, self.bias, padding=self.padding)
        return result

    def enlarged(self, features: Tensor) -> Tensor:
        """What the taps of the weight see of the features: here the features themselves."""
        return features

    def under_masks(self, outputs: Tensor, features: Tensor, masks: ChannelMasks, factor: float = 0) -> Tensor:
        """What :meth:`forward` gives with some input channels masked, or multiplied.

        Args:
            outputs: :meth:`forward` of the features.
            features: ``[n, C_in, H, W]``.
            masks: channels masked together.
            factor: what a mask multiplies its channels by.

        Returns:
            ``[len(masks) · n, C_out, H, W]``, mask by mask; equal to convolving again but for rounding.
        """
        rows, weights = self._patches_and_weights(features, masks)
        last = outputs.permute(0, 2, 3, 1)  # [n, H', W', C_out]
        whole = last.reshape(1, -1, last.shape[3]).expand(len(masks), -1, -1)
        changed: Tensor = torch.baddbmm(whole, rows, weights, alpha=factor - 1)
        return changed.reshape(-1, *last.shape[1:]).permute(0, 3, 1, 2)

    def _patches_and_weights(self, features: Tensor, masks: ChannelMasks) -> tuple[Tensor, Tensor]:
        """Factors of the contributions: ``[m, n · H' · W', K]``, ``[m, K, C_out]`` with K taps of the widest mask."""
        index, side = masks.index, self.weight.shape[2]
        widest = index.shape[1]
        picked = self.enlarged(features[:, index].transpose(0, 1))  # [m, n, c, H', W']
        padded_maps = functional.pad(picked, (self.padding,) * 4)
        patches = padded_maps.unfold(3, side, 1).unfold(4, side, 1)  # [m, n, c, H', W', k, k]
        rows = patches.permute(0, 1, 3, 4, 2, 5, 6).reshape(len(masks), -1, widest * side * side)
        weights = self.weight[:, index] * masks.present[None, :, :, None, None]  # [C_out, m, c, k, k]
        return rows, weights.permute(1, 2, 3, 4, 0).reshape(len(masks), widest * side * side, -1)


class UpsamplingConvolution(SiteConvolution):
    """Nearest-neighbour doubling and the 3 x 3 convolution after it, as one 2 x 2 convolution before it.

    Each output pixel of the pair sees at most two different input rows and columns, so the three taps fold into
    two for each of the four output parities: 4/9 of the multiplications, and no enlarged copy. Equal to
    ``convolution(interpolate(x, scale_factor=2, mode="nearest"))`` but for the rounding of the folded weights.

    Raises:
        ValueError: the convolution is not 3 x 3.
    """

    folded: Tensor
    transposed: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        if convolution.kernel_size != (3, 3):
            raise ValueError(f"convolution must be 3 x 3; got {convolution}")
        folded = [_folded(_folded(self.weight, 2, y), 3, x) for y in PARITIES for x in PARITIES]
        self.register_buffer("folded", torch.cat(folded).contiguous(memory_format=torch.channels_last))
        self.register_buffer("transposed", _transposed(folded))

    def forward(self, features: Tensor) -> Tensor:
        """As a transposed convolution, which interleaves the parities as it goes: slower at odd width on a CPU."""
        if features.shape[3] % 2:
            bias = None if self.bias is None else self.bias.repeat(4)
            return self._interleaved(functional.conv2d(features, self.folded, bias, padding=1))
        result: Tensor = functional.conv_transpose2d(features, self.transposed, self.bias, stride=2, padding=1)
        return result

    def enlarged(self, features: Tensor) -> Tensor:
        """``[..., H, W]`` => ``[..., 2H, 2W]``, nearest neighbours."""
        return features.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    def _interleaved(self, outputs: Tensor) -> Tensor:
        """``[n, 4 · C_out, H + 1, W + 1]`` by parity => ``[n, C_out, 2H, 2W]``, channels last."""
        parts = outputs.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
        n, height, width = parts.shape[0], parts.shape[1] - 1, parts.shape[2] - 1
        result: Tensor = parts.new_empty(n, height, 2, width, 2, parts.shape[-1])
        for y in PARITIES:
            for x in PARITIES:
                result[:, :, y, :, x] = parts[:, y : y + height, x : x + width, y, x]
        return result.reshape(n, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class PlaneConvolution(SiteConvolution):
    """A convolution to very few planes, as one matrix product a tap and a sum of shifted planes.

    Libraries tile convolutions by output channel; with the one or three of an image most of a tile is idle.
    """

    taps: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        taps = self.weight.flip(2, 3).permute(1, 0, 2, 3).reshape(self.weight.shape[1], -1)
        self.register_buffer("taps", taps)  # [C_in, planes · k²]

    def forward(self, features: Tensor) -> Tensor:
        """``[n, C_in, H, W]`` => ``[n, planes, H, W]``."""
        side = self.weight.shape[2]
        products = (features.permute(0, 2, 3, 1) @ self.taps).to(features.dtype)  # [n, H, W, planes · k²]
        columns = products.permute(0, 3, 1, 2).flatten(2)
        images: Tensor = functional.fold(columns, features.shape[2:], side, padding=self.padding)
        return images if self.bias is None else images + self.bias[:, None, None]


def _folded(weight: Tensor, dim: int, parity: int) -> Tensor:
    """Three taps along a dimension to two: even output pixels see (w0, w1 + w2), odd ones (w0 + w1, w2)."""
    first, second, third = weight.unbind(dim)
    return torch.stack([first, second + third] if parity == 0 else [first + second, third], dim)


def _transposed(folded: Sequence[Tensor]) -> Tensor:
    """Folded taps by parity (y, x), ``[C_out, C_in, 2, 2]`` each, as one kernel ``[C_in, C_out, 4, 4]`` of stride 2.

    Its taps 3 and 1 make the even output pixels, 2 and 0 the odd ones.
    """
    kernel = folded[0].new_empty(folded[0].shape[1], folded[0].shape[0], 4, 4)
    for taps, (y, x) in zip(folded, product(PARITIES, PARITIES), strict=True):
        kernel[:, :, 1 - y :: 2, 1 - x :: 2] = taps.transpose(0, 1).flip(2, 3)
    return kernel
