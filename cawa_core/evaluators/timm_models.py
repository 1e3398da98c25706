"""``timm/NAME``: any classifier of timm that ends in a linear layer."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from cawa_core.digests import digest_of_tensors
from cawa_core.errors import InputError, first_line, suggestion
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.classifier import LinearHeadClassifier
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.weights import load_strictly, load_tensors


def load_timm(request: EvaluatorRequest) -> LinearHeadClassifier:
    """Weights by path, or by timm's own download and cache.

    Raises:
        InputError: no such classifier, offline without a path, or weights that cannot be had.
    """
    name = request.name.split("/", 1)[1]
    architecture, known = name.split(".")[0], timm.list_models()
    if architecture not in known:
        raise InputError(f"evaluator timm/{name} is no model of timm{suggestion(architecture, known)}")
    network = _given(name, request) if request.weights.is_given(request.name) else _fetched(name, request)
    digest = _digest(network)
    network = network.to(memory_format=torch.channels_last)
    preprocessing = _preprocessing(network)
    classifier, side = LinearHeadClassifier(network, preprocessing, request.name, digest), preprocessing.side
    _require_one_head(classifier, side)
    return classifier


def _require_one_head(classifier: LinearHeadClassifier, side: int) -> None:
    """Some distilled models add up two heads."""
    wanted = [1, classifier.head.in_features]
    try:
        with torch.inference_mode():
            found: object = list(classifier.features(torch.zeros(1, 3, side, side)).shape)
    except RuntimeError as error:
        found = first_line(error)
    if found != wanted:
        raise InputError(
            f"evaluator {classifier.name} must end in one linear layer; without it, {found} instead of {wanted} "
            "comes out: choose another"
        )


def _digest(network: nn.Module) -> str:
    """Of what was learned, as timm's own download and a user's file hold it in different formats."""
    learned = {name: one for name, one in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    return digest_of_tensors(learned)


def _given(name: str, request: EvaluatorRequest) -> nn.Module:
    path = request.weights.file(request.name)
    network = timm.create_model(name, pretrained=False)
    load_strictly(network, load_tensors(path), str(path), ignorable=("*.num_batches_tracked",))
    return network


def _fetched(name: str, request: EvaluatorRequest) -> nn.Module:
    if request.weights.offline:
        raise InputError(f"weights of timm/{name} may not be fetched (offline); give --weights timm/{name}=PATH")
    try:
        return timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"weights of timm/{name} cannot be fetched: {first_line(error)}; give --weights timm/{name}=PATH"
        ) from None


def _preprocessing(network: nn.Module) -> Preprocessing:
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    side, mean, std = config["input_size"][-1], tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(side, mean, std, "bicubic" if config["interpolation"] == "bicubic" else "bilinear")
