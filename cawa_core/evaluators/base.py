"""What an evaluator offers: class log-probabilities, and features for the manifold metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Evaluator(nn.Module, ABC):
    """A classifier with a feature space; it owns its preprocessing.

    Attributes:
        name: the registry's name.
        digest: SHA-256 of the weights.
        protocol: preprocessing and feature layer in words; part of every result's identity.
    """

    name: str
    digest: str
    protocol: str

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Images float32 NCHW in [-1, 1] => features float32 ``[n, d]``."""

    @abstractmethod
    def logits_of_features(self, features: Tensor) -> Tensor:
        """Features ``[n, d]`` => class logits ``[n, n_classes]``."""

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Images float32 NCHW in [-1, 1] => float64 log softmax ``[n, n_classes]``.

        In float64 because a masking effect is a small difference of large log-probabilities.
        """
        return self.logits_of_features(self.features(images)).double().log_softmax(dim=1)
