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
from cawa_core.weights import load_strictly, load_tensors, without_prefix

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
INCEPTION_CONVOLUTIONS = (InceptionConvolution, GoogLeNetConvolution)
TRAINED_ON_HALF = ("inception_v3", "googlenet")
"""Networks trained with a mean and deviation of one half; torchvision feeds them ImageNet's, which they convert
(``transform_input``)."""
INCEPTION_SIDE = 299
VGG_SIDE = 224
UNUSED = ("AuxLogits.*", "aux1.*", "aux2.*", "*.num_batches_tracked")
"""Tensors that only training needs; checkpoints may or may not contain them."""


def load_inception_v3(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Load Inception-v3 (Szegedy et al. 2016) with torchvision's weights, without ``transform_input``.

    The weights were trained on pixels in [-1, 1], that is, with a mean and deviation of one half.
    """
    network = models.inception_v3(weights=None, transform_input=False, aux_logits=True, init_weights=False)
    return _load_classifier(network, request, Preprocessing(INCEPTION_SIDE, HALF, HALF))


def load_vgg16(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Load VGG-16 (Simonyan and Zisserman 2015); its features are the 4,096 activations after ``fc2`` and ReLU."""
    preprocessing = Preprocessing(VGG_SIDE, IMAGENET_MEAN, IMAGENET_STD)
    return _load_classifier(models.vgg16(weights=None), request, preprocessing)


def load_torchvision(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Load ``torchvision/NAME``, any classifier of torchvision that ends in a linear layer, with its default weights.

    Raises:
        InputError: torchvision has no such classifier, or its weights are missing or damaged.
    """
    known = models.list_models(module=models)
    name = request.name.split("/", 1)[1]
    if name not in known:
        raise InputError(f"evaluator torchvision/{name} is not a torchvision classifier{suggestion(name, known)}")
    transform: Any = models.get_model_weights(name).DEFAULT.transforms()
    mean = tuple(transform.mean)
    std = tuple(transform.std)
    options: dict[str, Any] = {}
    if name in TRAINED_ON_HALF:
        mean = HALF
        std = HALF
        options = {"transform_input": False, "init_weights": False}
    if name.startswith("vit_"):
        options = {"image_size": transform.crop_size[0]}
    network = models.get_model(name, weights=None, **options)
    preprocessing = Preprocessing(transform.crop_size[0], mean, std, transform.interpolation.value)
    return _load_classifier(network, request, preprocessing)


def _load_classifier(
    network: nn.Module, request: EvaluatorRequest, preprocessing: Preprocessing
) -> LinearHeadClassifier:
    path = request.weights.file(request.name)
    stored = without_prefix(load_tensors(path), network.state_dict())
    tensors = {_current_name(name): tensor for name, tensor in stored.items()}
    load_strictly(network, tensors, str(path), ignorable=UNUSED)
    _fold_batch_norms(network.eval())
    network = network.to(memory_format=torch.channels_last)
    return LinearHeadClassifier(network, preprocessing, request.name, digest_of_file(path))


def _fold_batch_norms(network: nn.Module) -> None:
    """Fuse the batch norms of Inception and GoogLeNet into their convolutions; exact up to rounding in eval mode."""
    for module in network.modules():
        if isinstance(module, INCEPTION_CONVOLUTIONS):
            module.conv = nn.utils.fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()


def _current_name(name: str) -> str:
    """Drop the dot inside the module names of published DenseNet weights, such as ``denselayer1.norm.1.weight``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)
