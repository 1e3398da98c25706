"""Masking as one writes it first: a forward hook, and a whole forward pass for every mask (as netdissect does).

The networks are those of the audit as they are trained or published: no folded batch norm, the memory format that
PyTorch gives. Spectral norms are resolved, which is to the loop's advantage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from cawa_core import assets
from cawa_core.evaluators.fashion import WEIGHTS, FashionClassifier
from cawa_core.evaluators.imagenet import HALF, INCEPTION_SIDE
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.generators.base import Channels
from cawa_core.generators.biggan.deep import BigGANDeep
from cawa_core.generators.fashion.generator import FashionBigGAN, conditional_norms
from cawa_core.generators.fashion.network import FashionNetwork


@dataclasses.dataclass(frozen=True)
class NaiveLoop:
    """Hook, whole pass, score.

    Attributes:
        norms: the conditional batch norm of each site.
        images: latents ``[n, z_dim]`` and classes ``[n]`` to images.
        logits: images to class logits.
    """

    norms: list[nn.Module]
    images: Callable[[Tensor, Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def log_scores(self, z: Tensor, class_id: int, site: int, mask: Channels) -> Tensor:
        """Log-probabilities of the class with channels of a site masked: ``[n]``."""

        def silence(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, list(mask)] = 0
            return output

        handle = self.norms[site].register_forward_hook(silence)
        try:
            images = self.images(z, torch.full((len(z),), class_id, device=z.device))
            return self.logits(images).double().log_softmax(dim=1)[:, class_id]
        finally:
            handle.remove()


def fashion_loop(generator: FashionBigGAN) -> NaiveLoop:
    """The bundled generator and classifier, on the device of the generator."""
    network = FashionNetwork(generator.network.architecture)
    network.load_state_dict(generator.network.state_dict())
    classifier = FashionClassifier()
    classifier.load_state_dict(load_file(assets.verified(WEIGHTS)))
    norms: list[nn.Module] = list(conditional_norms(network.eval().to(generator.device)))
    return NaiveLoop(norms, network, classifier.eval().to(generator.device))


def biggan_deep_loop(generator: BigGANDeep, inception: dict[str, Tensor]) -> NaiveLoop:
    """BigGAN-deep as pytorch-pretrained-biggan runs it, and torchvision's Inception-v3; where the generator is.

    The generator's own network is used, in PyTorch's memory format: the generator is not to be used any more.
    """
    network = generator.network.to(memory_format=torch.contiguous_format)
    classifier = models.inception_v3(weights=None, transform_input=False, init_weights=False).eval()
    classifier.load_state_dict(inception)
    classifier.to(generator.device)
    preprocessing = Preprocessing(INCEPTION_SIDE, HALF, HALF)
    norms = [norm for block in generator.blocks for norm in (block.bn_0, block.bn_1, block.bn_2, block.bn_3)]

    def images(z: Tensor, class_ids: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(class_ids, generator.n_classes).float()
        result: Tensor = network(z, one_hot, 1.0)
        return result

    return NaiveLoop(norms, images, lambda pictures: classifier(preprocessing(pictures)))
