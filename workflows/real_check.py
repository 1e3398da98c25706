"""Check before an audit that the evaluator assigns real images to the classes of their folders."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from cawa_core.errors import InputError
from workflows.workbench import Workbench

CLASSES, IMAGES = 20, 8
"""Largest number of classes checked, evenly spread, and images checked per class."""


def check_real_images(bench: Workbench) -> None:
    """Compare the evaluator's classes of some real images with the classes of their folders.

    Raises:
        InputError: fewer than ``minimum_real_accuracy`` agree.
    """
    minimum = bench.options.minimum_real_accuracy
    if bench.reals is None or not minimum:
        return
    places = np.linspace(0, len(bench.class_ids) - 1, min(CLASSES, len(bench.class_ids))).round().astype(int)
    predictions = {class_id: classified(bench, class_id) for class_id in (bench.class_ids[place] for place in places)}
    total = sum(map(len, predictions.values()))
    correct = sum(class_ids.count(class_id) for class_id, class_ids in predictions.items())
    if correct < minimum * total:
        raise InputError(
            f"real_images {bench.spec.real_images}: {bench.evaluator.name} assigns {correct} of {total} images to "
            f"their folder's class, fewer than minimum_real_accuracy={minimum:g}{_confusion(bench, predictions)}; fix "
            "the mapping (--class-folders) or the weights, or pass --minimum-real-accuracy 0 to skip this check"
        )


@torch.inference_mode()
def classified(bench: Workbench, class_id: int) -> list[int]:
    """Return the evaluator's classes of the first real images of a class."""
    images = next(bench.real_images.batches_of(class_id, IMAGES)).to(bench.generator.device)
    with bench.arithmetic():
        predictions: list[int] = bench.evaluator.log_probabilities(images).argmax(dim=1).tolist()
    return predictions


def _confusion(bench: Workbench, predictions: dict[int, list[int]]) -> str:
    pairs = Counter(
        (class_id, prediction)
        for class_id, class_predictions in predictions.items()
        for prediction in class_predictions
        if prediction != class_id
    )
    (class_id, prediction), count = pairs.most_common(1)[0]
    names = bench.generator.class_names
    return f"; {count} of {names[class_id]!r} are classified as {names[prediction]!r}"
