"""Strokes that an audit paints: discs with a label that other images of the class have in the same place."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.numerics.seeds import random_generator
from cawa_core.semantics.layouts import ANYTHING

RADIUS = 1 / 8
"""Radius of a stroke, as a share of the side of the image."""
MOST_PLACES = 50
"""Places that are tried until other images differ there."""


@dataclasses.dataclass(frozen=True)
class Stroke:
    """A stroke that is painted on an image.

    Attributes:
        category: category that is painted.
        map: the category in the disc, int64 ``[S, S]``; ``ANYTHING`` (-1) outside of it.
    """

    category: int
    map: Tensor


def drawn_stroke(image: Tensor, same_class: Tensor, seed: int, class_id: int, number: int) -> Stroke | None:
    """Draw a stroke that is plausible for a class: most of another image's disc has the label, and not the image's.

    Args:
        image: categories of the image that is painted on, int64 ``[S, S]``.
        same_class: categories of other images of the class ``[n, S, S]``.
        seed, class_id, number: what the draw depends on.

    Returns:
        The stroke; None if the images of the class are alike wherever it was tried.
    """
    random = random_generator(seed, class_id, number, "stroke")
    side = image.shape[-1]
    categories = same_class.cpu().numpy()
    for _ in range(MOST_PLACES):
        row, column = random.integers(side, size=2)
        disc = _disc(side, int(row), int(column))
        now = _commonest(image.cpu().numpy()[disc])
        there = [_commonest(each[disc]) for each in categories]
        different = [category for category in there if category != now]
        if different:
            category = int(random.choice(different))
            inside = torch.from_numpy(disc).to(image.device)
            return Stroke(category, torch.where(inside, category, ANYTHING))
    return None


def _disc(side: int, row: int, column: int) -> NDArray[np.bool_]:
    """Return the pixels of a disc, bool ``[side, side]``."""
    places = np.arange(side)
    distances = (places[:, None] - row) ** 2 + (places[None] - column) ** 2
    return np.asarray(distances <= (side * RADIUS) ** 2)


def _commonest(categories: NDArray[np.int64]) -> int:
    return int(np.bincount(categories).argmax())
