"""Words of the world: buildings, places, classes and labels."""

from __future__ import annotations

from typing import Literal

BUILDINGS = ("house", "church", "barn", "tower", "castle")
PLACES = ("in a meadow", "in the snow", "in the desert", "at night", "by the sea", "in autumn")
MEADOW, SNOW, DESERT, NIGHT, SEASIDE, AUTUMN = range(len(PLACES))
HOUSE, CHURCH, BARN, TOWER, CASTLE = range(len(BUILDINGS))

CLASS_NAMES = tuple(f"{building} {place}" for building in BUILDINGS for place in PLACES)
"""Name of each class; its index is building · 6 + place."""

LABELS = ("sky", "ground", "wall", "roof", "door", "window", "tree", "sun", "water", "mountain", "cloud")
"""Things that a pixel can show; the moon counts as ``sun``, a chimney as ``roof``, a path and a beach as ``ground``."""

LABEL_COLOURS = (
    (122, 172, 240),
    (112, 164, 74),
    (224, 204, 164),
    (176, 62, 52),
    (96, 54, 22),
    (250, 240, 120),
    (20, 92, 34),
    (255, 160, 40),
    (28, 84, 176),
    (132, 126, 124),
    (255, 255, 255),
)
"""Colour of each label in pictures of label maps."""

CLASS_FACTORS = {
    "building": tuple(building for building in BUILDINGS for _ in PLACES),
    "place": PLACES * len(BUILDINGS),
}
"""Building and place of each class."""

Relation = Literal["same", "building", "place", "neither"]


def building_of(class_id: int) -> int:
    """Return the index in :data:`BUILDINGS` of a class."""
    return class_id // len(PLACES)


def place_of(class_id: int) -> int:
    """Return the index in :data:`PLACES` of a class."""
    return class_id % len(PLACES)


def relation(class_a: int, class_b: int) -> Relation:
    """Return what two classes share: the building, the place, neither; ``same`` for a class with itself."""
    same_building = building_of(class_a) == building_of(class_b)
    same_place = place_of(class_a) == place_of(class_b)
    if same_building and same_place:
        return "same"
    if same_building:
        return "building"
    return "place" if same_place else "neither"
