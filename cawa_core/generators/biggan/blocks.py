"""Layers of an original BigGAN between its sites, with the weights as used in evaluation."""

from __future__ import annotations

from torch import Tensor, nn

from cawa_core.generators.biggan.attention import attend
from cawa_core.generators.biggan.checkpoint import BigGANCheckpoint
from cawa_core.generators.biggan.site_convolution import SiteConvolution, UpsamplingConvolution

ATTENTION_LAYERS = ("theta", "phi", "g", "o")


class SelfAttention(nn.Module):
    """Self-attention ``x + γ · o(attend(θ(x), φ(x), g(x)))`` (Zhang et al. 2019, arXiv 1805.08318).

    Args:
        checkpoint: source of the weights.
        name: name of the attention block in the checkpoint.
    """

    gamma: Tensor

    def __init__(self, checkpoint: BigGANCheckpoint, name: str) -> None:
        super().__init__()
        self.theta, self.phi, self.g, self.o = (
            convolution(checkpoint, f"{name}.{layer}") for layer in ATTENTION_LAYERS
        )
        self.register_buffer("gamma", checkpoint.tensor(f"{name}.gamma"))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the attention: ``[n, C, H, W]`` => ``[n, C, H, W]``."""
        mixed = attend(self.theta(x), self.phi(x), self.g(x))
        return x + self.gamma * self.o(mixed)  # type: ignore[no-any-return]


class BigGANBlock(nn.Module):
    """Layers that follow the two sites of a block; the skip path is narrowed before it is upsampled.

    Args:
        checkpoint: source of the weights.
        block: number of the block.
    """

    def __init__(self, checkpoint: BigGANCheckpoint, block: int) -> None:
        super().__init__()
        self.conv1 = UpsamplingConvolution(convolution(checkpoint, f"blocks.{block}.0.conv1"))
        self.conv2 = SiteConvolution(convolution(checkpoint, f"blocks.{block}.0.conv2"))
        self.skip = convolution(checkpoint, f"blocks.{block}.0.conv_sc")
        has_attention = block in checkpoint.architecture.attention_blocks
        self.attention = SelfAttention(checkpoint, f"blocks.{block}.1") if has_attention else nn.Identity()


def convolution(checkpoint: BigGANCheckpoint, layer: str) -> nn.Conv2d:
    """Build a convolution from the checkpoint; it keeps the resolution."""
    weight = checkpoint.weight(layer)
    bias = _bias(checkpoint, layer)
    c_out, c_in, _, side = weight.shape
    module = nn.Conv2d(c_in, c_out, side, padding=side // 2, bias=bias is not None, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    module.register_parameter("bias", bias)
    return module


def linear(checkpoint: BigGANCheckpoint, layer: str) -> nn.Linear:
    """Build a linear layer from the checkpoint."""
    weight = checkpoint.weight(layer)
    module = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    module.register_parameter("bias", _bias(checkpoint, layer))
    return module


def _bias(checkpoint: BigGANCheckpoint, layer: str) -> nn.Parameter | None:
    name = f"{layer}.bias"
    return nn.Parameter(checkpoint.tensor(name), requires_grad=False) if name in checkpoint.names else None
