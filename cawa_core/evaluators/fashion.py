"""``fashion-cnn``: the bundled classifier, six small convolutions trained on Fashion-MNIST."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cawa_core import assets
from cawa_core.errors import InputError
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest

WEIGHTS = "fashion_cnn.safetensors"
FEATURE_DIM = 128


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Build a 3 x 3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


class FashionClassifier(nn.Module):
    """Network in its training form: 28, 14, then 7 pixels, mean over pixels, 128 features, one logit per class.

    Args:
        n_classes: number of classes.
    """

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(1, 32),
            convolution(32, 32, stride=2),
            convolution(32, 64),
            convolution(64, 64, stride=2),
            convolution(64, 128),
            convolution(128, FEATURE_DIM),
        )
        self.head = nn.Linear(FEATURE_DIM, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, 128]`` of images ``[n, 1, 28, 28]`` in [-1, 1]."""
        return self.body(images).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``[n, 10]`` of images ``[n, 1, 28, 28]`` in [-1, 1]."""
        return self.head(self.features(images))  # type: ignore[no-any-return]


class FashionCNN(Evaluator):
    """The bundled evaluator: softmax scores, and 128 penultimate activations as the feature space of the metrics.

    Args:
        network: the trained network; its batch norms are fused into its convolutions.
        digest: SHA-256 of the weights.
    """

    name = "fashion-cnn"
    n_classes = 10
    protocol = "fashion-cnn; grey 28 x 28 in [-1, 1], no resize; features: penultimate layer, 128"

    def __init__(self, network: FashionClassifier, digest: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        _fold_batch_norms(self.network)

    @classmethod
    def bundled(cls, request: EvaluatorRequest) -> FashionCNN:
        """Load the trained classifier that ships with the package; its weights are checked by SHA-256."""
        request.require_no_weights()
        network = FashionClassifier()
        network.load_state_dict(load_file(assets.verified(WEIGHTS)))
        return cls(network.to(memory_format=torch.channels_last), assets.recorded_digest(WEIGHTS))

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, 128]`` of images, float32 ``[n, 1, 28, 28]`` in [-1, 1]."""
        if images.shape[1:] != (1, 28, 28):
            raise InputError(
                f"evaluator fashion-cnn needs images [n, 1, 28, 28]; got {list(images.shape)}; "
                "choose another --evaluator"
            )
        return self.network.features(images)

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Compute logits ``[n, 10]`` from features ``[n, 128]``."""
        return self.network.head(features)  # type: ignore[no-any-return]


def _fold_batch_norms(network: FashionClassifier) -> None:
    """Fuse each batch norm into its convolution, which is equivalent in eval mode."""
    for layer in network.body:
        assert isinstance(layer, nn.Sequential)
        layer[0] = nn.utils.fuse_conv_bn_eval(layer[0], layer[1])  # type: ignore[arg-type, type-var]
        layer[1] = nn.Identity()
        layer[2] = nn.ReLU(inplace=True)
