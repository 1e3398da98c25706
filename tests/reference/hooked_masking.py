"""Masking by a forward hook and a whole forward pass a mask, on the network as it was trained."""

import torch

from cawa_core.generators.small_biggan.generator import FashionBigGAN


def hooked_images(generator: FashionBigGAN, z, class_id: int, site: int, channels) -> torch.Tensor:
    """Images with channels set to zero in the output of a site's conditional batch norm (zero before ReLU)."""

    def silence(_module, _inputs, output):
        output = output.clone()
        output[:, list(channels)] = 0
        return output

    handle = generator.network.conditional_norms()[site].register_forward_hook(silence)
    try:
        with torch.no_grad():
            return generator.network(z, torch.full((len(z),), class_id))
    finally:
        handle.remove()
