"""Semantic segmentation networks of torchvision, as ``torchvision/NAME``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import segmentation

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError, suggestion
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.segmenters.base import Segmenter, SegmenterRequest
from cawa_core.weights import load_strictly, load_tensors, without_prefix

BACKGROUND = "__background__"
"""Name of torchvision for pixels without any concept; always the first."""
UNUSED = ("aux_classifier.*", "*.num_batches_tracked")
"""Tensors that only training needs; checkpoints may or may not contain them."""


class TorchvisionSegmenter(Segmenter):
    """A network whose output of highest probability labels a pixel; the background is no concept.

    Args:
        network: maps ``[n, 3, side, side]`` to a dict with the logits ``out``.
        preprocessing: what the network was trained on.
        name: ``torchvision/NAME``.
        digest: SHA-256 of the weights.
        concepts: names of the logits after the first, which is the background.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, name: str, digest: str, concepts: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.name = name
        self.digest = digest
        self.concepts = concepts
        self.protocol = (
            f"{name}; {preprocessing.protocol}; logits enlarged to the image (bilinear, half-pixel centres), the "
            "highest one labels a pixel"
        )

    def segment(self, images: Tensor) -> Tensor:
        """Label the pixels of images ``[n, 1 or 3, S, S]`` in [-1, 1]; the background is no concept."""
        return self._logits(images).argmax(dim=1) - 1

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each concept at each pixel, ``[n, concepts, S, S]``."""
        return self._logits(images).softmax(dim=1)[:, 1:]

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.preprocessing(images))["out"]
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)


def load_torchvision(request: SegmenterRequest) -> TorchvisionSegmenter:
    """Load ``torchvision/NAME``, any semantic segmentation network of torchvision, with its default weights.

    Raises:
        InputError: torchvision has no such network, or its weights are missing or damaged.
    """
    known = models.list_models(module=segmentation)
    name = request.name.split("/", 1)[1]
    if name not in known:
        raise InputError(
            f"segmenter torchvision/{name} is not a torchvision segmentation network{suggestion(name, known)}"
        )
    weights: Any = models.get_model_weights(name).DEFAULT
    categories = tuple(weights.meta["categories"])
    assert categories[0] == BACKGROUND
    transform = weights.transforms()
    side = transform.resize_size[0]
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=len(categories))
    path = request.weights.file(request.name)
    stored = without_prefix(load_tensors(path), network.state_dict())
    load_strictly(network, stored, str(path), ignorable=UNUSED)
    preprocessing = Preprocessing(side, tuple(transform.mean), tuple(transform.std), transform.interpolation.value)
    return TorchvisionSegmenter(network, preprocessing, request.name, digest_of_file(path), categories[1:])
