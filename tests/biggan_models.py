"""An original BigGAN with random weights, as BigGAN-PyTorch would save its checkpoint."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.generators.biggan.architecture import BigGANArchitecture
from cawa_core.generators.biggan.checkpoint import tensor_shapes


def random_checkpoint(ch: int = 96, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of the published 256-pixel model at some width: 96 in its own, 8 or more for a quick one."""
    architecture = BigGANArchitecture(
        ch=ch,
        n_blocks=6,
        bottom_width=4,
        n_classes=1000,
        shared_dim=128,
        z_dim=140,
        hierarchical=True,
        attention_blocks=(3,),
        batch_norm="plain",
        n_singular_values=1,
    )
    random = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=random) for name, shape in tensor_shapes(architecture).items()}
    for name, tensor in tensors.items():
        if name.endswith(".u0"):
            tensors[name] = functional.normalize(tensor)
        elif name.endswith(("stored_var", "running_var")):
            tensors[name] = 0.5 + tensor.abs()
        elif name.endswith((".bias", "stored_mean", "running_mean")):
            tensors[name] = 0.1 * tensor
    return tensors


def save_checkpoint(path: Path, ch: int = 96) -> Path:
    """A ``G_ema.pth``."""
    torch.save(random_checkpoint(ch), path)
    return path
