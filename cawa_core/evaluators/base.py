"""What an evaluator offers: features for the metrics, and, where it is a classifier, class log-probabilities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore


@dataclasses.dataclass(frozen=True)
class EvaluatorRequest:
    """One evaluator, by name, and where its weights come from."""

    name: str
    weights: WeightStore = dataclasses.field(default_factory=WeightStore)

    def require_no_weights(self) -> None:
        """For models that bring their own.

        Raises:
            InputError: weights were given.
        """
        if self.weights.is_given(self.name):
            raise InputError(f"weights: {self.name} brings its own; leave it out of --weights")


class FeatureExtractor(nn.Module, ABC):
    """A network with a feature space; it owns its preprocessing.

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
        """Images float32 NCHW in [-1, 1] => features ``[n, d]``."""

    def compile_features(self) -> None:
        """Send what ``features`` does through torch.compile; it compiles when it is first called."""
        self.features = torch.compile(self.features)  # type: ignore[method-assign]


class Evaluator(FeatureExtractor):
    """A classifier with a feature space.

    Attributes:
        n_classes: how many classes it tells apart.
    """

    n_classes: int

    @abstractmethod
    def logits_of_features(self, features: Tensor) -> Tensor:
        """Features ``[n, d]`` => class logits ``[n, n_classes]``."""

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Images float32 NCHW in [-1, 1] => float64 log softmax ``[n, n_classes]``.

        In float64 because a masking effect is a small difference of large log-probabilities.
        """
        return self.logits_of_features(self.features(images)).double().log_softmax(dim=1)
