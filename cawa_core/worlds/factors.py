"""Known factors of the classes of a world, such as the building and the place that make a class of ``scenes``."""

from __future__ import annotations

from collections.abc import Mapping

from cawa_core.worlds.scenes.vocabulary import CLASS_FACTORS

Factors = Mapping[str, tuple[str, ...]]
"""Name of each factor => its value for every class, by class index."""

NEITHER = "neither"
"""Name of the pairs of classes that share none of the factors."""
FACTORS_OF_WORLDS: Mapping[str, Factors] = {"scenes": CLASS_FACTORS}


def known_factors(real_images: str) -> Factors | None:
    """Return the factors that make the classes of a set of real images, by its name; None if they are not known.

    The generator's classes are those of the set, which is checked when the set is opened.
    """
    return FACTORS_OF_WORLDS.get(real_images)
