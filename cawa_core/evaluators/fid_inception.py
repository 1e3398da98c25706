"""``fid-inception``: the network of the published FID (Heusel et al. 2017), as torch-fidelity has it."""

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
from cawa_core.pixels import as_bytes
from cawa_core.weights import load_tensors

FEATURES = "2048"


class FidInception(FeatureExtractor):
    """Features only: the 2,048 of the last pooling; torch-fidelity resizes as TensorFlow 1 did."""

    name = "fid-inception"
    protocol = (
        "fid-inception; rounded to uint8, grey as three colours, whole image to 299 x 299 as TensorFlow 1 (bilinear, "
        "not antialiased), (x - 128) / 128; features: last pooling, 2048"
    )

    def __init__(self, network: FeatureExtractorInceptionV3, digest: str) -> None:
        super().__init__()
        self.network, self.digest = network, digest

    def features(self, images: Tensor) -> Tensor:
        """Images float32 ``[n, 1 or 3, H, H]`` in [-1, 1] => features float32 ``[n, 2048]``."""
        return self.network(as_bytes(as_colour(images)))[0]  # type: ignore[no-any-return]


def load_fid_inception(request: EvaluatorRequest) -> FidInception:
    """The FID weights, from a path, the cache or torch-fidelity's release.

    Raises:
        InputError: missing, damaged or foreign weights.
    """
    path = request.weights.file(request.name)
    return FidInception(_network(path), digest_of_file(path))


def _network(path: Path) -> FeatureExtractorInceptionV3:
    """torch-fidelity unpickles whatever it is given; so it is given tensors that were read safely."""
    buffer = io.BytesIO()
    torch.save(load_tensors(path), buffer)
    buffer.seek(0)
    try:
        return FeatureExtractorInceptionV3("fid-inception", [FEATURES], feature_extractor_weights_path=buffer)
    except RuntimeError as error:
        fault = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"weights: {path} does not hold the FID network of torch-fidelity: {fault}") from None
