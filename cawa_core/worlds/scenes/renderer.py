"""Renderer of the world: pictures, exact label maps and attributes from (seed, class, index)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.errors import InputError
from cawa_core.worlds.scenes.attributes import Attributes, measure
from cawa_core.worlds.scenes.layout import lay_out
from cawa_core.worlds.scenes.materials import LABEL_OF_MATERIAL, colours
from cawa_core.worlds.scenes.nuisances import Nuisances
from cawa_core.worlds.scenes.painting import paint
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES, LABELS, PLACES

VERSION = 1
"""Raise it with every change of a pixel; part of the identity of every result on these pictures."""

SIDES = (32, 64)
SAMPLES = 3
"""Points per pixel and axis; the label with the most of a pixel's nine points is the pixel's label."""
AT_A_TIME = 64
"""Pictures painted together, few enough for the caches; pictures do not depend on it."""

FRONT_TO_BACK = ("window", "door", "roof", "wall", "tree", "sun", "cloud", "mountain", "water", "ground", "sky")
"""Order in which labels win if two have equally many of a pixel's points: the thinner or nearer thing first."""
_PRIORITY = np.array([len(LABELS) - FRONT_TO_BACK.index(label) for label in LABELS], dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Pictures of the world.

    Attributes:
        images: pixels, uint8 RGB ``[n, side, side, 3]``.
        labels: label of each pixel, an index in ``LABELS``, uint8 ``[n, side, side]``.
        attributes: attributes measured on the label maps or known from the layout.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    attributes: Attributes


def render(class_ids: Sequence[int], indices: Sequence[int], *, seed: int = 0, side: int = 32) -> Scenes:
    """Render pictures; each is determined by (seed, class, index) and the side alone.

    Args:
        class_ids: class of each picture, in 0..29.
        indices: number of each picture within its class, from 0 on.
        seed: seed of the world, from 0 on.
        side: pixels per side, 32 or 64; the same scene at both.

    Raises:
        InputError: a class, an index, the seed or the side is out of range.
    """
    _check(class_ids, indices, seed, side)
    parts = [
        _render_few(class_ids[start : start + AT_A_TIME], indices[start : start + AT_A_TIME], seed, side)
        for start in range(0, max(1, len(class_ids)), AT_A_TIME)
    ]
    return Scenes(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        Attributes.joined([part.attributes for part in parts]),
    )


def _check(class_ids: Sequence[int], indices: Sequence[int], seed: int, side: int) -> None:
    if side not in SIDES:
        raise InputError(f"side must be 32 or 64; got {side}")
    if len(class_ids) != len(indices):
        raise InputError(f"indices must be one per class id, {len(class_ids)}; got {len(indices)}")
    wrong = [class_id for class_id in class_ids if not 0 <= class_id < len(CLASS_NAMES)]
    if wrong:
        raise InputError(f"class_ids must be in 0..{len(CLASS_NAMES) - 1}; got {wrong[0]}")
    if seed < 0 or any(index < 0 for index in indices):
        raise InputError("seed and indices must be at least 0")


def _render_few(class_ids: Sequence[int], indices: Sequence[int], seed: int, side: int) -> Scenes:
    u = Nuisances.draw(seed, class_ids, indices)
    buildings, places = np.divmod(np.asarray(class_ids, dtype=np.int64).reshape(-1), len(PLACES))
    layout = lay_out(u, buildings, places)
    materials = paint(u, layout, buildings, places, side * SAMPLES)
    images = _averaged(_coloured(materials, colours(u, buildings, places), layout.horizon))
    labels = _majority(LABEL_OF_MATERIAL[materials])
    return Scenes(images, labels, measure(images, labels, layout))


def _coloured(
    materials: NDArray[np.uint8], ramps: tuple[NDArray[np.float32], NDArray[np.float32]], horizon: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return colours ``[n, R, R, 3]`` of materials: along the ramp of the sky, or of the ground, from top to bottom."""
    n, resolution = materials.shape[:2]
    y = (np.arange(resolution, dtype=np.float32) + np.float32(0.5)) / np.float32(resolution)
    edge = horizon[:, None]
    along = np.where(y < edge, y / edge, (y - edge) / (1 - edge))
    first, last = ramps
    # The colour of every material in every row, so that each point only looks its colour up.
    table = first[:, None] + (last - first)[:, None] * along[:, :, None, None]
    rows = np.arange(n * resolution).reshape(n, resolution, 1) * first.shape[1]
    colours_of_points: NDArray[np.float32] = table.reshape(-1, 3)[rows + materials]
    return colours_of_points


def _averaged(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    n, resolution = points.shape[:2]
    side = resolution // SAMPLES
    blocks = points.reshape(n, side, SAMPLES, side, SAMPLES, 3)
    total = sum(blocks[:, :, dy, :, dx] for dy in range(SAMPLES) for dx in range(SAMPLES))
    return np.rint(total * np.float32(255 / SAMPLES**2)).astype(np.uint8)


def _majority(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label with the most points of each pixel ``[n, side, side]``; ties go by :data:`FRONT_TO_BACK`."""
    n, resolution = points.shape[:2]
    blocks = points.reshape(n, resolution // SAMPLES, SAMPLES, resolution // SAMPLES, SAMPLES)
    best = np.zeros((n, blocks.shape[1], blocks.shape[3]), dtype=np.uint8)
    labels = np.zeros_like(best)
    for label in range(len(LABELS)):
        is_label = (blocks == label).view(np.uint8)
        votes = sum(is_label[:, :, dy, :, dx] for dy in range(SAMPLES) for dx in range(SAMPLES))
        rank = votes * np.uint8(16) + np.where(votes > 0, _PRIORITY[label], np.uint8(0))
        labels[rank > best] = label
        np.maximum(best, rank, out=best)
    return labels
