"""Facts about single classes for a report: values to rank them by, related classes, and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cawa_core.statistics.outliers import largest_by_chance, robust_deviations

CHANCE = 0.05
"""Probability that any class stands out on any value although all classes follow one normal distribution."""

MOST_RELATED = 5
"""Most related classes that are listed of each class."""

Direction = Literal["higher", "lower", ""]


@dataclasses.dataclass(frozen=True)
class ClassValue:
    """A value of every class.

    Attributes:
        name: identifies the value.
        heading: its heading on the page.
        meaning: what it is, its range or unit.
        better: whether a higher or a lower value is better; empty if neither is.
        values: value by class; without classes that have none.
        fault: what a bad value means, in plain words, such as "images nearly alike"; empty if no side is bad.
        tested: the same on the scale on which deviations are taken; None: the values themselves.
    """

    name: str
    heading: str
    meaning: str
    better: Direction
    values: Mapping[int, float]
    fault: str = ""
    tested: Mapping[int, float] | None = None

    def deviations(self) -> dict[int, float]:
        """Return by class how far it lies on the bad side, in robust standard deviations; empty if no side is bad."""
        if not self.better:
            return {}
        scale = self.values if self.tested is None else self.tested
        class_ids = sorted(scale)
        values: NDArray[np.float64] = np.array([scale[class_id] for class_id in class_ids], dtype=np.float64)
        sign = 1 if self.better == "lower" else -1
        deviations = sign * robust_deviations(values)
        known = zip(class_ids, deviations.tolist(), strict=True)
        return {class_id: deviation for class_id, deviation in known if np.isfinite(deviation)}


@dataclasses.dataclass(frozen=True)
class RelatedClass:
    """A class that is related to another.

    Attributes:
        class_id: its index; it need not be part of the audit.
        name: its name.
        words: how it is related, such as "93% of the generated images, 2% of the real ones".
        is_telling: whether it is related so closely that it may explain why the other class stands out.
        diagnosis: what the relation means for the other class, such as "may be swapped with loafer"; empty if nothing.
    """

    class_id: int
    name: str
    words: str
    is_telling: bool = False
    diagnosis: str = ""


@dataclasses.dataclass(frozen=True)
class Relation:
    """Classes that each class is related to, most related first.

    Attributes:
        heading: heading on the page.
        by_class: related classes of each class; without classes that have none.
    """

    heading: str
    by_class: Mapping[int, Sequence[RelatedClass]]


@dataclasses.dataclass(frozen=True)
class ClassFacts:
    """Facts about single classes, from one analysis or from all.

    Attributes:
        values: values to rank the classes by.
        relations: related classes.
        pictures: a strip of pictures of each class, as WebP.
    """

    values: tuple[ClassValue, ...] = ()
    relations: tuple[Relation, ...] = ()
    pictures: Mapping[int, bytes] = dataclasses.field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Iterable[ClassFacts]) -> ClassFacts:
        """Join the facts of several analyses; of two strips of a class, the first one is used."""
        values: list[ClassValue] = []
        relations: list[Relation] = []
        pictures: dict[int, bytes] = {}
        for part in parts:
            values += part.values
            relations += part.relations
            pictures = dict(part.pictures) | pictures
        return cls(tuple(values), tuple(relations), pictures)


@dataclasses.dataclass(frozen=True)
class Outlier:
    """A value on which a class stands out on the bad side.

    Attributes:
        class_id: the class.
        value: name of the value.
        deviation: its distance from the median class in robust standard deviations.
    """

    class_id: int
    value: str
    deviation: float


def outliers(values: Sequence[ClassValue]) -> list[Outlier]:
    """Return which classes stand out on the bad side of which values, farthest first.

    A deviation counts if it is larger than the largest of as many normal values is with probability ``CHANCE`` divided
    by the number of values that have a bad side.
    """
    deviations = {value.name: value.deviations() for value in values if value.better}
    level = CHANCE / max(1, len(deviations))
    deviating = [
        Outlier(class_id, name, deviation)
        for name, by_class in deviations.items()
        for class_id, deviation in by_class.items()
        if deviation > largest_by_chance(len(by_class), level)
    ]
    return sorted(deviating, key=lambda outlier: (-outlier.deviation, outlier.class_id, outlier.value))
