"""One small pass through all models before anything is computed, so that models that do not fit are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cawa_core.errors import InputError, in_one_line
from cawa_core.evaluators.base import Evaluator, FeatureExtractor
from cawa_core.generators.base import class_ids_of
from cawa_core.numerics.device_errors import is_machine_error
from cawa_core.segmenters.base import Segmenter, concept_masks

if TYPE_CHECKING:
    from workflows.lab.lab import Lab

IMAGES = 2
LARGEST_PIXEL = 1.01
"""Largest absolute pixel value that passes for one of [-1, 1], with room for rounding in 16 bits."""
SUM_TOLERANCE = 0.01
"""Largest distance of summed probabilities from one."""


class _MachineError(Exception):
    """The pass failed because of memory or a device, which shards retry and report."""


def require_pass(lab: Lab) -> None:
    """Check that generator, evaluator and feature networks fit together, by a pass of two latents of one class.

    Compiled networks run uncompiled, because compilation takes minutes. A lack of memory and faults of a device are no
    faults of the models: they pass.

    Raises:
        InputError: a model raises an error, returns tensors of another shape, or values that are not finite.
    """
    with torch.inference_mode(), _uncompiled(lab), lab.arithmetic():
        try:
            images = _generated(lab)
            for role, network in lab.networks.items():
                _require_features(role, network, images)
            if "evaluator" in lab.networks:
                _require_scores(lab.evaluator, images, lab.generator.n_classes)
            if lab.labeller is not None:
                _require_labels(lab.labeller, images)
        except _MachineError:
            return


def _uncompiled(lab: Lab) -> AbstractContextManager[object]:
    return torch.compiler.set_stance("force_eager") if lab.spec.compile else nullcontext()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn any error of a model into one line that says where it was raised."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_machine_error(error):
            raise _MachineError from error
        raise InputError(f"{what}: {in_one_line(error)}") from error


def _generated(lab: Lab) -> Tensor:
    generator = lab.generator
    class_id = lab.class_ids[0]
    with _one_line(f"generator {generator.name} cannot make images of class {class_id}"):
        z = lab.latents(class_id, IMAGES)
        images: Tensor = generator(z, class_ids_of(class_id, z))
    side = generator.image_size
    _require_tensor(f"images of generator {generator.name}", images, (IMAGES, generator.image_channels, side, side))
    if float(images.abs().max()) > LARGEST_PIXEL:
        raise InputError(
            f"images of generator {generator.name} must be in [-1, 1]; got {float(images.min()):.3g} to "
            f"{float(images.max()):.3g}: scale them in the factory"
        )
    return images


def _require_features(role: str, network: FeatureExtractor, images: Tensor) -> None:
    flag = role.replace("_", "-")
    with _one_line(f"{role} {network.name} cannot take images {list(images.shape)}, choose another --{flag}"):
        features = network.features(images)
    shape = (IMAGES, features.shape[-1] if isinstance(features, Tensor) and features.ndim else 1)
    _require_tensor(f"features of {role} {network.name}", features, shape)


def _require_scores(evaluator: Evaluator, images: Tensor, n_classes: int) -> None:
    with _one_line(f"evaluator {evaluator.name} cannot score images {list(images.shape)}, choose another --evaluator"):
        scores = evaluator.log_probabilities(images)
    _require_tensor(f"log-probabilities of evaluator {evaluator.name}", scores, (IMAGES, n_classes))
    total = float(scores.exp().sum(dim=1).max())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(
            f"log-probabilities of evaluator {evaluator.name} must be a log softmax, whose exponentials sum to 1; they "
            f"sum to {total:.3g}: fix log_probabilities, or leave it to the base class"
        )


def _require_labels(segmenter: Segmenter, images: Tensor) -> None:
    with _one_line(f"segmenter {segmenter.name} cannot label images {list(images.shape)}, choose another --segmenter"):
        concept_masks(segmenter, images)


def _require_tensor(what: str, value: object, shape: tuple[int, ...]) -> None:
    """Check that a model returned finite floating-point numbers of a shape."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{what} must be a tensor of floating-point numbers; got {kind}: fix the model")
    if tuple(value.shape) != shape:
        raise InputError(
            f"{what} must have shape {list(shape)}; got {list(value.shape)}: fix the model, or its attributes"
        )
    if not bool(value.isfinite().all()):
        raise InputError(
            f"{what} must be finite numbers; {int((~value.isfinite()).sum())} of {value.numel()} are not: check the "
            "weights, or use --dtype float32"
        )
