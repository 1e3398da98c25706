"""``fid-inception``: the network of the published FID (Heusel et al. 2017), in torch-fidelity's port."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError
from cawa_core.evaluators.base import EvaluatorRequest, FeatureExtractor
from cawa_core.evaluators.preprocessing import as_colour
from cawa_core.rendering.pixels import as_bytes
from cawa_core.weights import load_tensors, value_faults

FEATURES = "2048"


class FidInception(FeatureExtractor):
    """Feature extractor with the 2,048 features of the last pooling; torch-fidelity resizes as TensorFlow 1 did.

    Args:
        network: torch-fidelity's network.
        digest: SHA-256 of the weights.
    """

    name = "fid-inception"
    protocol = (
        "fid-inception; rounded to uint8, grey as three colours, whole image to 299 x 299 as TensorFlow 1 (bilinear, "
        "not antialiased), (x - 128) / 128; features: last pooling, 2048"
    )

    def __init__(self, network: FeatureExtractorInceptionV3, digest: str) -> None:
        super().__init__()
        self.network = network
        self.digest = digest

    def features(self, images: Tensor) -> Tensor:
        """Compute float32 features ``[n, 2048]`` of images, float32 ``[n, 1 or 3, H, H]`` in [-1, 1]."""
        return self.network(as_bytes(as_colour(images)))[0]  # type: ignore[no-any-return]


def load_fid_inception(request: EvaluatorRequest) -> FidInception:
    """Load the FID network with weights from a path, the cache or torch-fidelity's release.

    Raises:
        InputError: the weights are missing, damaged or of another network.
    """
    path = request.weights.file(request.name)
    return FidInception(_network(path), digest_of_file(path))


def _network(path: Path) -> FeatureExtractorInceptionV3:
    """Build the network from a weight file.

    torch-fidelity unpickles any file, which can run code. So the tensors are read safely first, and torch-fidelity
    gets a pickle of these.
    """
    tensors = load_tensors(path)
    for fault in value_faults(tensors):
        raise InputError(f"weights: {path}: {fault}; give --weights another PATH")
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    buffer.seek(0)
    try:
        return FeatureExtractorInceptionV3("fid-inception", [FEATURES], feature_extractor_weights_path=buffer)
    except RuntimeError as error:
        fault = str(error).strip().splitlines()[-1].strip()
        raise InputError(
            f"weights: {path} must hold the FID network of torch-fidelity; {fault}; give --weights another PATH"
        ) from None
