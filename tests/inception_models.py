"""Inception-v3 with random weights whose scores depend on the image."""

import math

import torch
from torch import Tensor, nn
from torchvision import models

LOGIT_SCALE = 5.0
"""Deviation of the last layer's weights, in units that keep the size of its input."""


def random_inception_state(seed: int = 0) -> dict[str, Tensor]:
    """Tensors as torchvision saves them.

    PyTorch's own initial weights shrink from layer to layer until every image has the same score.
    """
    torch.manual_seed(seed)
    network = models.inception_v3(weights=None, transform_input=False, init_weights=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.normal_(network.fc.weight, std=LOGIT_SCALE / math.sqrt(network.fc.in_features))
    return network.state_dict()
