"""The bundled classifiers ``fashion-cnn`` and ``scenes-cnn``: six small convolutions each."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cawa_core import assets
from cawa_core.errors import InputError
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES

FEATURE_DIM = 128


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Build a 3 x 3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


class SmallClassifier(nn.Module):
    """Network in its training form: full, half, then a quarter of the side, mean over pixels, one logit per class.

    Args:
        n_classes: number of classes.
        image_channels: channels of the images.
    """

    def __init__(self, n_classes: int = 10, image_channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(image_channels, 32),
            convolution(32, 32, stride=2),
            convolution(32, 64),
            convolution(64, 64, stride=2),
            convolution(64, 128),
            convolution(128, FEATURE_DIM),
        )
        self.head = nn.Linear(FEATURE_DIM, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, 128]`` of images ``[n, image_channels, H, W]`` in [-1, 1]."""
        return self.body(images).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``[n, n_classes]`` of images ``[n, image_channels, H, W]`` in [-1, 1]."""
        return self.head(self.features(images))  # type: ignore[no-any-return]


class SmallCNN(Evaluator):
    """A bundled classifier: softmax scores, and 128 penultimate activations as the feature space of the metrics.

    Args:
        network: the trained network; its batch norms are fused into its convolutions.
        digest: SHA-256 of the weights.

    Attributes:
        weights: file of the trained network among the bundled files.
        image_channels, image_size: form of the images that it takes.
    """

    weights: ClassVar[str]
    image_channels: ClassVar[int]
    image_size: ClassVar[int]

    def __init__(self, network: SmallClassifier, digest: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        _fold_batch_norms(self.network)

    @classmethod
    def bundled(cls, request: EvaluatorRequest) -> Self:
        """Load the trained classifier that ships with the package; its weights are checked by SHA-256."""
        request.require_no_weights()
        network = SmallClassifier(cls.n_classes, cls.image_channels)
        network.load_state_dict(load_file(assets.verified(cls.weights)))
        return cls(network.to(memory_format=torch.channels_last), assets.recorded_digest(cls.weights))

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``[n, 128]`` of images, float32 ``[n, image_channels, side, side]`` in [-1, 1]."""
        side = self.image_size
        if images.shape[1:] != (self.image_channels, side, side):
            raise InputError(
                f"evaluator {self.name} needs images [n, {self.image_channels}, {side}, {side}]; "
                f"got {list(images.shape)}; choose another --evaluator"
            )
        return self.network.features(images)

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Compute logits ``[n, n_classes]`` from features ``[n, 128]``."""
        return self.network.head(features)  # type: ignore[no-any-return]


class FashionCNN(SmallCNN):
    """``fashion-cnn``: ten kinds of garments, trained on Fashion-MNIST."""

    name = "fashion-cnn"
    weights = "fashion_cnn.safetensors"
    n_classes = 10
    image_channels = 1
    image_size = 28
    protocol = "fashion-cnn; grey 28 x 28 in [-1, 1], no resize; features: penultimate layer, 128"


class ScenesCNN(SmallCNN):
    """``scenes-cnn``: the 30 classes of the procedural world ``scenes``."""

    name = "scenes-cnn"
    weights = "scenes_cnn.safetensors"
    n_classes = len(CLASS_NAMES)
    image_channels = 3
    image_size = 32
    protocol = "scenes-cnn; RGB 32 x 32 in [-1, 1], no resize; features: penultimate layer, 128"


def _fold_batch_norms(network: SmallClassifier) -> None:
    """Fuse each batch norm into its convolution, which is equivalent in eval mode."""
    for layer in network.body:
        assert isinstance(layer, nn.Sequential)
        layer[0] = nn.utils.fuse_conv_bn_eval(layer[0], layer[1])  # type: ignore[arg-type, type-var]
        layer[1] = nn.Identity()
        layer[2] = nn.ReLU(inplace=True)
