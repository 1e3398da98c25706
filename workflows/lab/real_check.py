"""Checks of real images before an audit: that there are enough, and that the evaluator knows their classes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from cawa_core.errors import InputError

if TYPE_CHECKING:
    from workflows.lab.lab import Lab

CLASSES, IMAGES = 20, 8
"""Largest number of classes checked, evenly spread, and images checked per class."""


def require_real_images(lab: Lab, neighbours: int) -> None:
    """Check that each class has enough real images for two halves with neighbours.

    Raises:
        InputError: a class has too few.
    """
    least = 2 * (neighbours + 1)
    reals = lab.real_images
    for class_id in lab.class_ids:
        count = reals.count_of(class_id)
        if count < 2 * least:  # few enough to look at each
            count -= len(reals.unreadable_of(class_id))
        if count < least:
            raise InputError(
                f"real_images must be at least {least} per class, for halves of more than neighbours={neighbours}; "
                f"class {class_id} has {count}: add some, lower --neighbours, or leave it out"
            )


def check_real_images(lab: Lab) -> None:
    """Compare the evaluator's classes of some real images with the classes of their folders.

    Raises:
        InputError: fewer than ``minimum_real_accuracy`` agree.
    """
    minimum = lab.options.minimum_real_accuracy
    if lab.reals is None or not minimum:
        return
    places = np.linspace(0, len(lab.class_ids) - 1, min(CLASSES, len(lab.class_ids))).round().astype(int)
    predictions = {class_id: classified(lab, class_id) for class_id in (lab.class_ids[place] for place in places)}
    total = sum(map(len, predictions.values()))
    correct = sum(class_ids.count(class_id) for class_id, class_ids in predictions.items())
    if correct < minimum * total:
        raise InputError(
            f"real_images {lab.spec.real_images}: {lab.evaluator.name} assigns {correct} of {total} images to "
            f"their folder's class, fewer than minimum_real_accuracy={minimum:g}{_confusion(lab, predictions)}; fix "
            "the mapping (--class-folders) or the weights, or pass --minimum-real-accuracy 0 to skip this check"
        )


@torch.inference_mode()
def classified(lab: Lab, class_id: int) -> list[int]:
    """Return the evaluator's classes of the first real images of a class."""
    images = next(lab.real_images.batches_of(class_id, IMAGES)).to(lab.generator.device)
    with lab.arithmetic():
        predictions: list[int] = lab.evaluator.log_probabilities(images).argmax(dim=1).tolist()
    return predictions


def _confusion(lab: Lab, predictions: dict[int, list[int]]) -> str:
    pairs = Counter(
        (class_id, prediction)
        for class_id, class_predictions in predictions.items()
        for prediction in class_predictions
        if prediction != class_id
    )
    (class_id, prediction), count = pairs.most_common(1)[0]
    names = lab.generator.class_names
    return f"; {count} of {names[class_id]!r} are classified as {names[prediction]!r}"
