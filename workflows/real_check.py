"""Before an audit: does the evaluator see in the real images the classes that their folders are said to hold?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from cawa_core.errors import InputError
from workflows.workbench import Workbench

CLASSES, IMAGES = 20, 8
"""At most this many classes, evenly spread, and this many images of each."""


def check_real_images(bench: Workbench) -> None:
    """Compare the evaluator's classes of some real images with their folders'.

    Raises:
        InputError: fewer than ``minimum_real_accuracy`` agree.
    """
    minimum = bench.options.minimum_real_accuracy
    if bench.reals is None or not minimum:
        return
    chosen = np.linspace(0, len(bench.class_ids) - 1, min(CLASSES, len(bench.class_ids))).round().astype(int)
    seen = {class_id: classified(bench, class_id) for class_id in (bench.class_ids[one] for one in chosen)}
    total = sum(map(len, seen.values()))
    correct = sum(class_ids.count(class_id) for class_id, class_ids in seen.items())
    if correct < minimum * total:
        raise InputError(
            f"real_images {bench.spec.real_images}: {bench.evaluator.name} gives {correct} of {total} images to their "
            f"folder's class, fewer than minimum_real_accuracy={minimum:g}{_confusion(bench, seen)}; mend the mapping "
            "(--class-folders) or the weights, or give --minimum-real-accuracy 0 to go on"
        )


@torch.inference_mode()
def classified(bench: Workbench, class_id: int) -> list[int]:
    """The evaluator's class of the first real images of a class."""
    images = next(bench.real_images.batches_of(class_id, IMAGES)).to(bench.generator.device)
    with bench.arithmetic():
        found: list[int] = bench.evaluator.log_probabilities(images).argmax(dim=1).tolist()
    return found


def _confusion(bench: Workbench, seen: dict[int, list[int]]) -> str:
    pairs = Counter((given, found) for given, all_found in seen.items() for found in all_found if given != found)
    (given, found), count = pairs.most_common(1)[0]
    names = bench.generator.class_names
    return f"; {count} of {names[given]!r} are seen as {names[found]!r}"
