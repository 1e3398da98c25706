"""BigGAN-deep with random weights, as pytorch-pretrained-biggan would hold and save it."""

import functools
from pathlib import Path

import torch
from pytorch_pretrained_biggan.config import BigGANConfig
from pytorch_pretrained_biggan.model import BigGAN, BigGANBatchNorm

WIDE = [(False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8)]
MIDDLE = [(True, 8, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1)]
LAYERS = {
    128: BigGANConfig().layers,
    256: [*WIDE, *MIDDLE],
    512: [*WIDE, *MIDDLE, (False, 1, 1), (True, 1, 1)],
}
"""Blocks of the three published models: (upsamples, width before, width after), in units of the channel width."""


def random_network(side: int = 128, channel_width: int = 128, z_dim: int = 128, seed: int = 0) -> BigGAN:
    """A network in eval mode with settled spectral norms, and random statistics, attention and last batch norm."""
    torch.manual_seed(seed)
    config = BigGANConfig(output_dim=side, z_dim=z_dim, channel_width=channel_width, layers=LAYERS[side])
    config.class_embed_dim = z_dim
    network = BigGAN(config).eval()
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            hook.n_power_iterations = 15
            hook.compute_weight(module, do_power_iteration=True)
            hook.n_power_iterations = 1
        if isinstance(module, BigGANBatchNorm):
            module.running_means.normal_(std=0.3)
            module.running_vars.uniform_(0.5, 2.0)
    last = network.generator.bn
    last.weight.data.normal_(1, 0.1)
    last.bias.data.normal_(0, 0.1)
    network.generator.layers[config.attention_layer_position].gamma.data.fill_(0.7)
    return network.requires_grad_(False)


def save_folder(network: BigGAN, folder: Path) -> Path:
    """``pytorch_model.bin`` and ``config.json``, as the published folders have them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(network.config.to_json_string())
    return folder


@functools.cache
def tiny_network() -> BigGAN:
    """The published layout of 128 pixels at one sixteenth of the width."""
    return random_network(channel_width=8, z_dim=12)
