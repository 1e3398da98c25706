"""Classifiers of torchvision: ``inception-v3``, ``vgg16``, and any other as ``torchvision/NAME``."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d as GoogLeNetConvolution
from torchvision.models.inception import BasicConv2d as InceptionConvolution

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError, suggestion
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.classifier import LinearHeadClassifier
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.weights import load_strictly, load_tensors

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
INCEPTION_CONVOLUTIONS = (InceptionConvolution, GoogLeNetConvolution)
TRAINED_ON_HALF = ("inception_v3", "googlenet")
"""Torchvision takes ImageNet's normalisation for these and undoes it inside (``transform_input``)."""
INCEPTION_SIDE, VGG_SIDE = 299, 224
UNUSED = ("AuxLogits.*", "aux1.*", "aux2.*", "*.num_batches_tracked")
"""Training's own: checkpoints may have them or lack them."""


def load_inception_v3(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Inception-v3 with torchvision's weights (Szegedy et al. 2016), without its switch of the normalisation.

    The weights were trained on pixels in [-1, 1]: mean and deviation of one half.
    """
    network = models.inception_v3(weights=None, transform_input=False, aux_logits=True, init_weights=False)
    return _loaded(network, request, Preprocessing(INCEPTION_SIDE, HALF, HALF))


def load_vgg16(request: EvaluatorRequest) -> LinearHeadClassifier:
    """VGG-16 (Simonyan and Zisserman 2015); features: the 4,096 activations after ``fc2`` and its ReLU."""
    return _loaded(models.vgg16(weights=None), request, Preprocessing(VGG_SIDE, IMAGENET_MEAN, IMAGENET_STD))


def load_torchvision(request: EvaluatorRequest) -> LinearHeadClassifier:
    """``torchvision/NAME``: any classifier of torchvision that ends in a linear layer, with its default weights.

    Raises:
        InputError: no such classifier, or its weights are missing or damaged.
    """
    known = models.list_models(module=models)
    name = request.name.split("/", 1)[1]
    if name not in known:
        raise InputError(f"evaluator torchvision/{name} is no classifier of torchvision{suggestion(name, known)}")
    transform: Any = models.get_model_weights(name).DEFAULT.transforms()
    mean, std = tuple(transform.mean), tuple(transform.std)
    options: dict[str, Any] = {}
    if name in TRAINED_ON_HALF:
        mean, std, options = HALF, HALF, {"transform_input": False, "init_weights": False}
    if name.startswith("vit_"):
        options = {"image_size": transform.crop_size[0]}
    network = models.get_model(name, weights=None, **options)
    preprocessing = Preprocessing(transform.crop_size[0], mean, std, transform.interpolation.value)
    return _loaded(network, request, preprocessing)


def _loaded(network: nn.Module, request: EvaluatorRequest, preprocessing: Preprocessing) -> LinearHeadClassifier:
    path = request.weights.file(request.name)
    tensors = {_present_name(name): tensor for name, tensor in load_tensors(path).items()}
    load_strictly(network, tensors, str(path), ignorable=UNUSED)
    _fold_batch_norms(network.eval())
    network = network.to(memory_format=torch.channels_last)
    return LinearHeadClassifier(network, preprocessing, request.name, digest_of_file(path))


def _fold_batch_norms(network: nn.Module) -> None:
    """Inception's and GoogLeNet's convolutions take their batch norm in; exact in eval mode but for rounding."""
    for module in network.modules():
        if isinstance(module, INCEPTION_CONVOLUTIONS):
            module.conv = nn.utils.fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()


def _present_name(name: str) -> str:
    """Published DenseNet weights have a dot where Python names cannot: ``denselayer1.norm.1.weight``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)
