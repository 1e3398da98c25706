"""Interface of evaluators: features for the metrics and, for classifiers, class log-probabilities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore


@dataclasses.dataclass(frozen=True)
class EvaluatorRequest:
    """Name of an evaluator and the source of its weights."""

    name: str
    weights: WeightStore = dataclasses.field(default_factory=WeightStore)

    def require_no_weights(self) -> None:
        """Check that no weights are given for a model that brings its own.

        Raises:
            InputError: weights were given.
        """
        if self.weights.is_given(self.name):
            raise InputError(f"weights: {self.name} brings its own weights; remove it from --weights")


class FeatureExtractor(nn.Module, ABC):
    """A network with a feature space, including its preprocessing.

    Attributes:
        name: name in the registry.
        digest: SHA-256 of the weights.
        protocol: preprocessing and feature layer in words; part of every result's identity.
    """

    name: str
    digest: str
    protocol: str

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, d]`` of images, float32 NCHW in [-1, 1]."""

    def compile_features(self) -> None:
        """Wrap ``features`` in torch.compile; compilation happens on the first call."""
        self.features = torch.compile(self.features)  # type: ignore[method-assign]


class Evaluator(FeatureExtractor):
    """A classifier with a feature space.

    Attributes:
        n_classes: number of classes.
    """

    n_classes: int

    @abstractmethod
    def logits_of_features(self, features: Tensor) -> Tensor:
        """Compute class logits ``[n, n_classes]`` from features ``[n, d]``."""

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Compute the log softmax ``[n, n_classes]`` of images, float32 NCHW in [-1, 1].

        The result is float64, because a masking effect is a small difference of large log-probabilities.
        """
        return self.logits_of_features(self.features(images)).double().log_softmax(dim=1)
