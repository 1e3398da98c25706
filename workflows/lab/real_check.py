"""Checks of real images before an audit: that there are enough, and that the evaluator knows their classes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from cawa_core.errors import InputError, counted

if TYPE_CHECKING:
    from workflows.lab.lab import Lab

CLASSES, IMAGES = 20, 8
"""Largest number of classes checked, evenly spread, and images checked per class."""
TRIED = 1000
"""Files that are decoded before an audit, over all classes, to find classes with unreadable ones."""
MOST_ENDINGS = 5
"""Most endings of ignored files that a message names."""


def require_real_images(lab: Lab, neighbours: int) -> None:
    """Check that each class has enough real images for two halves with neighbours.

    Raises:
        InputError: a class has too few.
    """
    least = 2 * (neighbours + 1)
    real_image_set = lab.real_images
    for class_id in lab.class_ids:
        count = real_image_set.count_of(class_id)
        if count < 2 * least:  # few enough to look at each
            count -= len(real_image_set.unreadable_of(class_id))
        if count < least:
            raise InputError(
                f"real_images must be at least {least} per class, for halves of more than neighbours={neighbours}; "
                f"class {class_id} has {count}: add some, lower --neighbours, or leave it out"
            )


def check_real_images(lab: Lab) -> None:
    """Check that few real images are unreadable, and that the evaluator, if any, agrees with the classes of some.

    Raises:
        InputError: more than ``maximum_unreadable`` of a class are unreadable, or the evaluator agrees with fewer than
            ``minimum_real_accuracy``.
    """
    if lab.real_image_set is None:
        return
    for class_id in lab.class_ids:
        if lab.real_image_set.has_unreadable(class_id, max(2, TRIED // len(lab.class_ids))):
            require_readable(lab, class_id, lab.real_image_set.unreadable_of(class_id))
    ignored = lab.real_image_set.ignored_endings(lab.class_ids)
    if ignored:
        endings = ", ".join(f"{ending} {count:,}" for ending, count in ignored.most_common(MOST_ENDINGS))
        print(
            f"real_images: {counted(ignored.total(), 'file')} without the ending of a picture ignored ({endings})",
            file=sys.stderr,
        )
    if lab.options.minimum_real_accuracy and "evaluator" in lab.networks:
        require_real_accuracy(lab, lab.options.minimum_real_accuracy)


def require_readable(lab: Lab, class_id: int, unreadable: Sequence[str]) -> None:
    """Check that few files of a class are unreadable.

    Args:
        lab: lab with real images.
        class_id: the class.
        unreadable: names of its unreadable files.

    Raises:
        InputError: they are more than ``maximum_unreadable`` of the class.
    """
    count = lab.real_images.count_of(class_id)
    most = lab.options.maximum_unreadable
    if len(unreadable) > most * count:
        raise InputError(
            f"real_images {lab.spec.real_images}: {len(unreadable):,} of {count:,} pictures of class {class_id} "
            f"({lab.generator.class_names[class_id]}) cannot be read, among them {unreadable[0]}, more than "
            f"maximum_unreadable={most:g}; restore or convert them, or pass --maximum-unreadable 1 to leave them out"
        )


def require_real_accuracy(lab: Lab, minimum: float) -> None:
    """Compare the evaluator's classes of some real images with the classes of their folders.

    Raises:
        InputError: less than a share of ``minimum`` agree.
    """
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
