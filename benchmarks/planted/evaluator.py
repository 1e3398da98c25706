"""A classifier of the planted generator's classes: fixed random convolutions and a fitted linear head."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.digests import digest_of_file
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest
from cawa_core.weights import load_strictly, load_tensors

WIDTHS = (3, 24, 32)
POOLED = 3
"""Side of the grid over which features are averaged."""
SHRINKAGE = 0.02
"""Share of the mean variance that is added to the covariance."""


class RandomFeatureClassifier(Evaluator):
    """Two random convolutions, averaged over a grid, and the linear discriminant of the classes.

    Args:
        n_classes: number of classes.
        seed: seed of the convolutions.

    Attributes:
        head: linear layer from features to logits.
    """

    def __init__(self, n_classes: int, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.convolutions = nn.ModuleList()
        for c_in, c_out in pairwise(WIDTHS):
            convolution = nn.Conv2d(c_in, c_out, 5, stride=2, padding=2)
            convolution.weight.data = torch.randn(convolution.weight.shape, generator=random) / (25 * c_in) ** 0.5
            convolution.bias.data = torch.randn(c_out, generator=random) / 4
            self.convolutions.append(convolution)
        self.head = nn.Linear(WIDTHS[-1] * POOLED**2, n_classes)
        self.name = "random-features"
        self.n_classes = n_classes
        self.protocol = f"random features, 32 px, {self.head.in_features} averages"
        self.digest = ""
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, d]`` of images ``[n, 3, 32, 32]`` in [-1, 1]."""
        x = images
        for convolution in self.convolutions:
            x = functional.leaky_relu(2 * convolution(x), 0.2)
        return functional.adaptive_avg_pool2d(x, POOLED).flatten(1)

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Return logits ``[n, n_classes]``."""
        return self.head(features)  # type: ignore[no-any-return]

    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Fit the linear discriminant with one covariance for all classes, in float64.

        Args:
            features: ``[n, d]``, of all classes.
            labels: class of each row, int64 ``[n]``.
        """
        features = features.double()
        counts = torch.bincount(labels, minlength=self.n_classes).double()
        means = torch.zeros(self.n_classes, features.shape[1], dtype=torch.float64).index_add_(0, labels, features)
        means /= counts[:, None]
        residuals = features - means[labels]
        covariance = residuals.T @ residuals / len(features)
        covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        weight = torch.linalg.solve(covariance, means.T).T
        self.head.weight.data = weight.float()
        self.head.bias.data = (-(weight * means).sum(dim=1) / 2).float()


def factory(request: EvaluatorRequest) -> RandomFeatureClassifier:
    """Load the classifier from the file that ``python -m benchmarks planted`` wrote.

    Raises:
        InputError: the file does not hold such a model.
    """
    path = request.weights.file(request.name)
    tensors = load_tensors(path)
    evaluator = RandomFeatureClassifier(len(tensors["head.bias"]))
    load_strictly(evaluator, tensors, str(path))
    evaluator.digest = digest_of_file(path)
    return evaluator
