"""``timm/NAME``: any classifier of timm that ends in a linear layer."""

from __future__ import annotations

from typing import Any, Literal

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from cawa_core.digests import digest_of_tensors
from cawa_core.errors import InputError, first_line, suggestion
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.classifier import LinearHeadClassifier
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.weights import load_strictly, load_tensors, without_prefix


def load_timm(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Load a timm classifier with weights from a path or from timm's own download and cache.

    Raises:
        InputError: timm has no such model, it does not end in one linear layer, or its weights are not available.
    """
    name = request.name.split("/", 1)[1]
    architecture = name.split(".")[0]
    known = timm.list_models()
    if architecture not in known:
        raise InputError(f"evaluator timm/{name} is not a timm model{suggestion(architecture, known)}")
    load = _load_from_path if request.weights.is_given(request.name) else _fetch
    network = load(name, request)
    digest = _digest(network)
    network = network.to(memory_format=torch.channels_last)
    preprocessing = _preprocessing(network)
    classifier = LinearHeadClassifier(network, preprocessing, request.name, digest)
    _require_one_head(classifier, preprocessing.side)
    return classifier


def _require_one_head(classifier: LinearHeadClassifier, side: int) -> None:
    """Refuse models with several heads, such as distilled ones that average two."""
    expected = [1, classifier.head.in_features]
    try:
        with torch.inference_mode():
            outcome: object = list(classifier.features(torch.zeros(1, 3, side, side)).shape)
    except RuntimeError as error:
        outcome = first_line(error)
    if outcome != expected:
        raise InputError(
            f"evaluator {classifier.name} must end in one linear layer; without it, the output must have shape "
            f"{expected}, got {outcome}; choose another evaluator"
        )


def _digest(network: nn.Module) -> str:
    """Return the digest of the weights; a file's digest would differ between timm's format and the user's."""
    weights = {
        name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    return digest_of_tensors(weights)


def _load_from_path(name: str, request: EvaluatorRequest) -> nn.Module:
    path = request.weights.file(request.name)
    network = timm.create_model(name, pretrained=False)
    tensors = without_prefix(load_tensors(path), network.state_dict())
    load_strictly(network, tensors, str(path), ignorable=("*.num_batches_tracked",))
    return network


def _fetch(name: str, request: EvaluatorRequest) -> nn.Module:
    if request.weights.offline:
        raise InputError(f"weights of timm/{name} cannot be fetched offline; give --weights timm/{name}=PATH")
    try:
        return timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"weights of timm/{name} cannot be fetched: {first_line(error)}; give --weights timm/{name}=PATH"
        ) from None


def _preprocessing(network: nn.Module) -> Preprocessing:
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    side = config["input_size"][-1]
    interpolation: Literal["bilinear", "bicubic"] = "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    return Preprocessing(side, tuple(config["mean"]), tuple(config["std"]), interpolation)
