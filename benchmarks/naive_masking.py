"""Mask with a forward hook and a whole forward pass per mask, as netdissect does: the straightforward code.

The networks are those of the audit as they were trained or published: batch norms are not folded, and tensors have the
default memory format of PyTorch. Spectral norms are resolved, which favours the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from cawa_core import assets
from cawa_core.evaluators.imagenet import HALF, INCEPTION_SIDE
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.evaluators.small_cnn import FashionCNN, SmallClassifier
from cawa_core.generators.base import Channels
from cawa_core.generators.biggan.deep import BigGANDeep
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.generators.small_biggan.network import SmallBigGANNetwork


@dataclasses.dataclass(frozen=True)
class NaiveLoop:
    """A generator and a classifier, for masking with a hook.

    Attributes:
        norms: the conditional batch norm of each site.
        images: function of latents ``[n, z_dim]`` and classes ``[n]`` that returns images.
        logits: function of images that returns class logits.
    """

    norms: list[nn.Module]
    images: Callable[[Tensor, Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def log_scores(self, z: Tensor, class_id: int, site: int, mask: Channels) -> Tensor:
        """Compute log-probabilities ``[n]`` of the class while channels of a site are masked."""

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
    """Prepare the bundled generator and classifier, on the device of the generator."""
    network = SmallBigGANNetwork(generator.network.architecture)
    network.load_state_dict(generator.network.state_dict())
    classifier = SmallClassifier()
    classifier.load_state_dict(load_file(assets.verified(FashionCNN.weights)))
    network.eval().to(generator.device)
    norms: list[nn.Module] = list(network.conditional_norms())
    return NaiveLoop(norms, network, classifier.eval().to(generator.device))


def biggan_deep_loop(generator: BigGANDeep, inception: dict[str, Tensor]) -> NaiveLoop:
    """Prepare BigGAN-deep as pytorch-pretrained-biggan runs it, and torchvision's Inception-v3.

    Both are on the device of the generator. Its network gets another memory format, so it must not be used afterwards.
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
