"""Materials that pictures are painted with: the label of each, and its colours in each picture."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

from cawa_core.worlds.scenes.nuisances import Nuisances
from cawa_core.worlds.scenes.vocabulary import LABELS, NIGHT, SNOW

Floats = NDArray[np.float32]


class Material(IntEnum):
    """Materials of shapes."""

    SKY = 0
    GROUND = auto()
    PATH = auto()
    SUN = auto()
    CLOUD = auto()
    MOUNTAIN = auto()
    PEAK = auto()
    WATER = auto()
    WAVE = auto()
    WALL = auto()
    WALL_IN_SHADE = auto()
    ROOF = auto()
    ROOF_TOP = auto()
    DOOR = auto()
    WINDOW = auto()
    TRUNK = auto()
    CROWN = auto()
    CROWN_OF_SECOND_TREE = auto()
    CROWN_OF_THIRD_TREE = auto()
    SNOW_ON_TREE = auto()


LABEL_OF_MATERIAL = np.array(
    [
        LABELS.index(name)
        for name in (
            *("sky", "ground", "ground", "sun", "cloud", "mountain", "mountain", "water", "water"),
            *("wall", "wall", "roof", "roof", "door", "window", "tree", "tree", "tree", "tree", "tree"),
        )
    ],
    dtype=np.uint8,
)
CROWNS = (Material.CROWN, Material.CROWN_OF_SECOND_TREE, Material.CROWN_OF_THIRD_TREE)

# One row per place: meadow, snow, desert, night, seaside, autumn.
SKY_TOP = (
    (0.30, 0.56, 0.95),
    (0.52, 0.66, 0.84),
    (0.96, 0.62, 0.36),
    (0.11, 0.13, 0.38),
    (0.24, 0.66, 0.96),
    (0.56, 0.60, 0.80),
)
SKY_LOW = (
    (0.74, 0.88, 1.00),
    (0.80, 0.87, 0.94),
    (1.00, 0.87, 0.62),
    (0.34, 0.33, 0.62),
    (0.80, 0.95, 1.00),
    (0.95, 0.85, 0.76),
)
GROUND_FAR = (
    (0.45, 0.74, 0.32),
    (0.96, 0.98, 1.00),
    (0.93, 0.76, 0.46),
    (0.22, 0.40, 0.37),
    (0.97, 0.89, 0.68),
    (0.74, 0.56, 0.26),
)
GROUND_NEAR = (
    (0.26, 0.56, 0.20),
    (0.84, 0.90, 0.98),
    (0.82, 0.60, 0.30),
    (0.14, 0.28, 0.28),
    (0.90, 0.78, 0.52),
    (0.55, 0.38, 0.16),
)
PATH = (
    (0.84, 0.74, 0.52),
    (0.70, 0.74, 0.82),
    (0.97, 0.86, 0.62),
    (0.30, 0.34, 0.42),
    (0.80, 0.66, 0.44),
    (0.86, 0.74, 0.50),
)
SUN = (
    (1.00, 0.93, 0.40),
    (1.00, 0.96, 0.72),
    (1.00, 0.95, 0.55),
    (0.97, 0.96, 0.84),
    (1.00, 0.93, 0.40),
    (1.00, 0.84, 0.42),
)
CLOUD = (
    (1.00, 1.00, 1.00),
    (0.95, 0.96, 0.98),
    (1.00, 0.94, 0.84),
    (0.42, 0.42, 0.66),
    (1.00, 1.00, 1.00),
    (0.98, 0.94, 0.90),
)
MOUNTAIN = (
    (0.42, 0.54, 0.58),
    (0.50, 0.58, 0.70),
    (0.76, 0.42, 0.26),
    (0.16, 0.18, 0.40),
    (0.40, 0.58, 0.56),
    (0.54, 0.44, 0.46),
)
PEAK = (
    (0.92, 0.95, 0.97),
    (0.98, 0.99, 1.00),
    (0.84, 0.52, 0.34),
    (0.46, 0.48, 0.72),
    (0.48, 0.66, 0.62),
    (0.90, 0.88, 0.88),
)
CROWN = (
    (0.13, 0.44, 0.15),
    (0.14, 0.38, 0.28),
    (0.22, 0.50, 0.22),
    (0.07, 0.24, 0.20),
    (0.16, 0.56, 0.24),
    (0.86, 0.40, 0.10),
)
CROWN_SPREAD = (0.05, 0.04, 0.05, 0.03, 0.05, 0.14)
CROWN_SHIFT = np.array((0.5, 1.0, 0.3), dtype=np.float32)
"""Direction in which the colours of a picture's trees differ."""

# One row per building: house, church, barn, tower, castle.
WALL = ((0.95, 0.84, 0.64), (0.95, 0.94, 0.90), (0.74, 0.18, 0.14), (0.76, 0.68, 0.58), (0.62, 0.64, 0.69))
ROOF = ((0.78, 0.30, 0.18), (0.32, 0.47, 0.68), (0.40, 0.33, 0.32), (0.60, 0.22, 0.44), (0.29, 0.41, 0.80))
DOOR = ((0.40, 0.22, 0.10), (0.42, 0.26, 0.14), (0.96, 0.93, 0.86), (0.34, 0.20, 0.10), (0.28, 0.18, 0.12))
WINDOW_BY_DAY = (0.42, 0.66, 0.86)
WINDOW_AT_NIGHT = (1.00, 0.86, 0.36)
WATER = (0.10, 0.42, 0.74)
WAVE = (0.52, 0.78, 0.94)
TRUNK = (0.42, 0.26, 0.14)
LIT_SNOW = (0.97, 0.98, 1.00)
LIGHT_AT_NIGHT = np.array((0.68, 0.66, 0.84), dtype=np.float32)
SHADE = np.float32(0.84)


def _rows(table: tuple[tuple[float, ...], ...], which: NDArray[np.int64]) -> Floats:
    return np.asarray(table, dtype=np.float32)[which]


def colours(nuisances: Nuisances, buildings: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the colour of every material at the top and at the bottom of its ramp, ``[n, materials, 3]`` each.

    Sky and ground have a ramp, which runs over the whole sky or the whole ground; both colours of others are the same.
    """
    n = len(buildings)
    light = np.where((places == NIGHT)[:, None], LIGHT_AT_NIGHT, np.float32(1))
    first = np.zeros((n, len(Material), 3), dtype=np.float32)
    first[:, Material.SKY] = _rows(SKY_TOP, places) + nuisances.jitter("sky", 0.03)
    first[:, Material.GROUND] = _rows(GROUND_FAR, places) + nuisances.jitter("ground", 0.03)
    first[:, Material.PATH] = _rows(PATH, places)
    first[:, Material.SUN] = _rows(SUN, places)
    first[:, Material.CLOUD] = _rows(CLOUD, places)
    first[:, Material.MOUNTAIN] = _rows(MOUNTAIN, places) + nuisances.jitter("mountain", 0.03)
    first[:, Material.PEAK] = _rows(PEAK, places)
    first[:, Material.WATER] = WATER
    first[:, Material.WAVE] = WAVE
    wall = (_rows(WALL, buildings) + nuisances.jitter("wall", 0.05)) * light
    first[:, Material.WALL] = wall
    first[:, Material.WALL_IN_SHADE] = wall * SHADE
    roof = (_rows(ROOF, buildings) + nuisances.jitter("roof", 0.06)) * light
    first[:, Material.ROOF] = roof
    first[:, Material.ROOF_TOP] = np.where(
        (places == SNOW)[:, None], np.asarray(LIT_SNOW, dtype=np.float32), roof * np.float32(1.12)
    )
    first[:, Material.DOOR] = _rows(DOOR, buildings) * light
    first[:, Material.WINDOW] = np.where((places == NIGHT)[:, None], WINDOW_AT_NIGHT, WINDOW_BY_DAY)
    first[:, Material.TRUNK] = TRUNK * light
    crown = _rows(CROWN, places)
    spread = np.asarray(CROWN_SPREAD, dtype=np.float32)[places][:, None]
    crown = crown + nuisances.jitter("crown", 1.0) * spread
    for number, material in enumerate(CROWNS):
        shift = nuisances.between(f"tree{number}_colour", -0.9, 0.9)[:, None]
        first[:, material] = crown + shift * spread * CROWN_SHIFT
    first[:, Material.SNOW_ON_TREE] = LIT_SNOW
    last = first.copy()
    last[:, Material.SKY] = _rows(SKY_LOW, places) + nuisances.jitter("sky", 0.03)
    last[:, Material.GROUND] = _rows(GROUND_NEAR, places) + nuisances.jitter("ground", 0.03)
    return np.clip(first, 0, 1), np.clip(last, 0, 1)
