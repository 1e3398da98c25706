"""``scenes-segmenter``: the labels of the procedural world ``scenes``."""

from __future__ import annotations

from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor

from cawa_core import assets
from cawa_core.errors import InputError
from cawa_core.segmenters.base import Segmenter, SegmenterRequest
from cawa_core.segmenters.small_unet import SCENES_SEGMENTER_WEIGHTS, SmallUNet
from cawa_core.worlds.scenes.vocabulary import LABELS

FACTOR = 4
"""The sides of images must be multiples of it, because the network halves them twice."""


class ScenesSegmenter(Segmenter):
    """A small U-Net, trained on renderings whose labels are known; it labels every pixel.

    Args:
        network: the trained network.
        digest: SHA-256 of the weights.
    """

    name = "scenes-segmenter"
    protocol = "scenes-segmenter; RGB in [-1, 1], no resize; the label of highest probability"
    concepts = LABELS

    def __init__(self, network: SmallUNet, digest: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.digest = digest

    @classmethod
    def bundled(cls, request: SegmenterRequest) -> Self:
        """Load the trained segmenter that ships with the package; its weights are checked by SHA-256."""
        request.require_no_weights()
        network = SmallUNet(len(LABELS))
        network.load_state_dict(load_file(assets.verified(SCENES_SEGMENTER_WEIGHTS)))
        return cls(network.to(memory_format=torch.channels_last), assets.recorded_digest(SCENES_SEGMENTER_WEIGHTS))

    def segment(self, images: Tensor) -> Tensor:
        """Label every pixel of images, float32 ``[n, 3, S, S]`` in [-1, 1], with S a multiple of 4."""
        return self._logits(images).argmax(dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each label at each pixel: ``[n, 11, S, S]``."""
        return self._logits(images).softmax(dim=1)

    def _logits(self, images: Tensor) -> Tensor:
        channels, height, width = images.shape[1:]
        if channels != 3 or height % FACTOR or width % FACTOR:
            raise InputError(
                f"segmenter {self.name} needs images [n, 3, S, S] with S a multiple of {FACTOR}; got "
                f"{list(images.shape)}; choose another --segmenter"
            )
        return self.network(images)  # type: ignore[no-any-return]
