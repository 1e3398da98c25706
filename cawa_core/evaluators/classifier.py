"""Evaluator made from any classifier that ends in a linear layer; the input of that layer is the feature space."""

from __future__ import annotations

from torch import Tensor, nn

from cawa_core.digests import digest_of_tensors
from cawa_core.errors import InputError
from cawa_core.evaluators.base import Evaluator
from cawa_core.evaluators.preprocessing import Preprocessing


class LinearHeadClassifier(Evaluator):
    """A network whose last linear layer computes the logits; the features are the input of that layer.

    Args:
        network: network from images ``[n, 3, side, side]`` to logits; its last linear layer is removed.
        preprocessing: conversion of a generator's images to the network's input.
        name: name in the registry.
        digest: SHA-256 of the weights; computed from the network if empty.

    Raises:
        InputError: the network has no linear layer.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, name: str, digest: str = "") -> None:
        super().__init__()
        self.digest = digest or digest_of_tensors(network.state_dict())
        self.network = network.eval().requires_grad_(False)
        self.name = name
        self.preprocessing = preprocessing
        path, self.head = _remove_last_linear(self.network, name)
        self.n_classes = self.head.out_features
        self.protocol = f"{name}; {preprocessing.protocol}; features: input of {path}, {self.head.in_features}"

    def features(self, images: Tensor) -> Tensor:
        """Compute float32 features ``[n, d]`` of images, float32 NCHW in [-1, 1]."""
        return self.network(self.preprocessing(images)).float()  # type: ignore[no-any-return]

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Compute class logits ``[n, n_classes]`` from features ``[n, d]``."""
        return self.head(features)  # type: ignore[no-any-return]


def _remove_last_linear(network: nn.Module, name: str) -> tuple[str, nn.Linear]:
    """Replace the network's last linear layer by the identity; return its path and the layer."""
    linear_layers = [(path, module) for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear_layers:
        raise InputError(f"evaluator {name} must end in a linear layer, but has none; choose another evaluator")
    path, head = linear_layers[-1]
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return path, head
