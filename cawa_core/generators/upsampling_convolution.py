"""Nearest-neighbour doubling and the 3 x 3 convolution after it, as one 2 x 2 convolution before it.

Each output pixel of the pair sees at most two different input rows and columns, so the three taps fold into
two for each of the four output parities: 4/9 of the multiplications, and no enlarged copy. Exact but for
the rounding of the folded weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PARITIES = (0, 1)


class UpsamplingConvolution(nn.Module):
    """Equal to ``convolution(interpolate(x, scale_factor=2, mode="nearest"))`` for a padded 3 x 3 convolution."""

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if convolution.kernel_size != (3, 3) or convolution.padding != (1, 1) or convolution.bias is None:
            raise ValueError(f"convolution must be 3 x 3 with padding 1 and a bias; got {convolution}")
        folded = [_folded(_folded(convolution.weight, 2, y), 3, x) for y in PARITIES for x in PARITIES]
        self.register_buffer("weight", torch.cat(folded).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", convolution.bias.repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, C_in, H, W]`` => ``[n, C_out, 2H, 2W]``, channels last."""
        n, _, height, width = x.shape
        parts: Tensor = (
            functional.conv2d(x, self.weight, self.bias, padding=1).permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
        )
        result: Tensor = parts.new_empty(n, height, 2, width, 2, parts.shape[-1])
        for y in PARITIES:
            for x_parity in PARITIES:
                result[:, :, y, :, x_parity] = parts[:, y : y + height, x_parity : x_parity + width, y, x_parity]
        return result.reshape(n, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _folded(weight: Tensor, dim: int, parity: int) -> Tensor:
    """Three taps along a dimension to two: even output pixels see (w0, w1 + w2), odd ones (w0 + w1, w2)."""
    first, second, third = weight.unbind(dim)
    return torch.stack([first, second + third] if parity == 0 else [first + second, third], dim)
