"""The layers of an original BigGAN between its sites, with the weights that act in evaluation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import skip_init

from cawa_core.generators.attention import attended
from cawa_core.generators.biggan_checkpoint import BigGANCheckpoint
from cawa_core.generators.site_convolution import SiteConvolution, UpsamplingConvolution

ATTENTION_LAYERS = ("theta", "phi", "g", "o")


class SelfAttention(nn.Module):
    """``x + γ · o(attention of θ(x) to φ(x), g(x))`` (Zhang et al. 2019, arXiv 1805.08318).

    Args:
        checkpoint: where the weights are.
        name: of the block in it.
    """

    gamma: Tensor

    def __init__(self, checkpoint: BigGANCheckpoint, name: str) -> None:
        super().__init__()
        self.theta, self.phi, self.g, self.o = (
            convolution(checkpoint, f"{name}.{layer}") for layer in ATTENTION_LAYERS
        )
        self.register_buffer("gamma", checkpoint.tensor(f"{name}.gamma"))

    def forward(self, x: Tensor) -> Tensor:
        """x ``[n, C, H, W]`` => the same shape."""
        mixed = attended(self.theta(x), self.phi(x), self.g(x))
        return x + self.gamma * self.o(mixed)  # type: ignore[no-any-return]


class BigGANBlock(nn.Module):
    """What follows each of the two sites of a block; the skip path is made narrow before it is enlarged.

    Args:
        checkpoint: where the weights are.
        block: number of the block.
    """

    def __init__(self, checkpoint: BigGANCheckpoint, block: int) -> None:
        super().__init__()
        self.conv1 = UpsamplingConvolution(convolution(checkpoint, f"blocks.{block}.0.conv1"))
        self.conv2 = SiteConvolution(convolution(checkpoint, f"blocks.{block}.0.conv2"))
        self.skip = convolution(checkpoint, f"blocks.{block}.0.conv_sc")
        attends = block in checkpoint.architecture.attention_blocks
        self.attention = SelfAttention(checkpoint, f"blocks.{block}.1") if attends else nn.Identity()


def convolution(checkpoint: BigGANCheckpoint, layer: str) -> nn.Conv2d:
    """A convolution of the checkpoint that keeps the resolution."""
    weight, bias = checkpoint.weight(layer), _bias(checkpoint, layer)
    c_out, c_in, _, side = weight.shape
    made: nn.Conv2d = skip_init(nn.Conv2d, c_in, c_out, side, padding=side // 2, bias=bias is not None)
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.register_parameter("bias", bias)
    return made


def linear(checkpoint: BigGANCheckpoint, layer: str) -> nn.Linear:
    """A linear layer of the checkpoint."""
    weight = checkpoint.weight(layer)
    made: nn.Linear = skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.register_parameter("bias", _bias(checkpoint, layer))
    return made


def _bias(checkpoint: BigGANCheckpoint, layer: str) -> nn.Parameter | None:
    name = f"{layer}.bias"
    return nn.Parameter(checkpoint.tensor(name), requires_grad=False) if name in checkpoint.names else None
