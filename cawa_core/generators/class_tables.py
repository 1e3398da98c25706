"""Lookup of classes by index, exact name or WordNet id, with a suggestion if nothing matches."""

from __future__ import annotations

import csv
import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from numbers import Integral
from typing import cast

from cawa_core import assets
from cawa_core.errors import InputError, bounded, listed, suggestion

IMAGENET = "imagenet_classes.csv"
MOST_LISTED = 20
"""Maximum classes that an error lists by name."""
MOST_DIGITS = 18
"""Digits of the largest number that is read as an index."""
LONGEST_NAME = 120
"""Maximum characters of a class name."""
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that a line cannot show: controls, surrogates, line and paragraph separators."""
REORDERING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
"""Marks that change the order of text after the name, too; single left-to-right and right-to-left marks do not."""


@dataclasses.dataclass(frozen=True)
class ClassLabels:
    """Names of some classes and, if they have any, their WordNet ids, by index."""

    names: Mapping[int, str]
    wordnet_ids: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """Classes of a model, in the order of their indices.

    Attributes:
        names: one unique name per class.
        wordnet_ids: one id per class, or empty.
        synonyms: further names per class, or empty; a synonym may belong to several classes.
    """

    names: tuple[str, ...]
    wordnet_ids: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(_class_name(name, index) for index, name in enumerate(self.names)))

    @classmethod
    def named(cls, names: Iterable[str | int]) -> ClassTable:
        """Return a table of names, where integers may be names."""
        return cls(cast(tuple[str, ...], tuple(names)))

    @classmethod
    def numbered(cls, count: int) -> ClassTable:
        """Return a table of numbered classes, for a model without class names."""
        return cls(tuple(f"class {index}" for index in range(count)))

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    def labels(self, class_ids: Iterable[int]) -> ClassLabels:
        """Return the names and WordNet ids of some classes."""
        selected = list(class_ids)
        names = {class_id: self.names[class_id] for class_id in selected}
        return ClassLabels(names, {class_id: self.wordnet_ids[class_id] for class_id in selected if self.wordnet_ids})

    def resolve(self, given: int | str, argument: str = "classes") -> int:
        """Return the index of a class, given as an index, a name or a WordNet id.

        Text that is neither a name nor a WordNet id may be an index, too.

        Raises:
            InputError: the class is unknown, ambiguous or out of range; the message names ``argument``.
        """
        text = str(given).strip()
        matches = self._indices.get(text, []) if isinstance(given, str) else []
        if len(matches) == 1:
            return matches[0]
        if matches:
            labels = self.wordnet_ids or self.names
            choices = listed((f"{index} ({labels[index]})" for index in matches), separator=" and ")
            raise InputError(f"{argument}: {text!r} names classes {choices}; give the index or WordNet id")
        if not text.removeprefix("-").isdecimal():
            few = len(self) <= MOST_LISTED
            listing = f"names: {', '.join(self.names)}" if few else "`cawa classes GENERATOR` lists them"
            raise InputError(
                f"{argument}: no class is named {bounded(text)}{suggestion(text, self._indices)}; {listing}"
            )
        if len(text) > MOST_DIGITS or not 0 <= int(text) < len(self):
            raise InputError(f"{argument} must be in 0..{len(self) - 1} or names; got {bounded(text, quoted=False)}")
        return int(text)

    def resolve_all(self, given: tuple[int | str, ...], *, once: bool = True) -> tuple[int, ...]:
        """Return the indices of classes in ascending order; for no class or the word ``all``, those of all classes.

        Args:
            given: classes as for :meth:`resolve`.
            once: whether to refuse duplicates, in whatever form; otherwise a duplicate counts once.

        Raises:
            InputError: :meth:`resolve` refuses a class, or a class is given twice.
        """
        if given in ((), ("all",)):
            return tuple(range(len(self)))
        indices = [self.resolve(name) for name in given]
        if once and len(set(indices)) < len(indices):
            raise InputError(f"classes must each be given once; got {listed(given)}")
        return tuple(sorted(set(indices)))

    def lines(self) -> list[str]:
        """Return one line per class for display: index, WordNet id, name, synonyms."""
        wordnet_ids = self.wordnet_ids or ("",) * len(self)
        synonyms = self.synonyms or ((),) * len(self)
        lines = []
        for index, name in enumerate(self.names):
            other_names = ", ".join(synonym for synonym in synonyms[index] if synonym != name)
            words = (str(index), wordnet_ids[index], name, f"({other_names})" if other_names else "")
            lines.append(" ".join(word for word in words if word))
        return lines

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        """Classes that each name, synonym or WordNet id stands for."""
        indices_of: dict[str, dict[int, None]] = {}
        single_names = [(name,) for name in self.names]
        single_ids = [(wordnet_id,) for wordnet_id in self.wordnet_ids]
        for column in (self.synonyms, single_names, single_ids):
            for index, names in enumerate(column):
                for name in names:
                    indices_of.setdefault(name, {})[index] = None
        return {name: sorted(indices) for name, indices in indices_of.items()}


def _class_name(name: object, index: int) -> str:
    """Return a name as text.

    Raises:
        InputError: it is neither text nor an integer, or cannot be typed and shown on one line.
    """
    if isinstance(name, Integral) and not isinstance(name, bool):
        return str(int(name))
    if not isinstance(name, str):
        raise InputError(f"names of classes must be text; class {index} has a {type(name).__name__}, {name!r:.60}")
    kinds = {unicodedata.category(character) for character in name}
    if not name or name != name.strip() or len(name) > LONGEST_NAME or kinds & UNSHOWN or set(name) & REORDERING:
        raise InputError(
            f"names of classes must be 1 to {LONGEST_NAME} characters on one line, without spaces around them, control "
            f"characters or marks that reorder text; class {index} has {name[:LONGEST_NAME]!a}"
        )
    return name


@cache
def imagenet_classes() -> ClassTable:
    """Load the 1,000 classes of ImageNet (ILSVRC 2012) in BigGAN's order, that of their sorted WordNet ids."""
    with assets.verified(IMAGENET).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    synonyms = tuple(tuple(row["synonyms"].split("; ")) for row in rows)
    return ClassTable(tuple(row["name"] for row in rows), tuple(row["wordnet_id"] for row in rows), synonyms)


def classes_of_model(count: int) -> ClassTable:
    """Return ImageNet's classes for a checkpoint of 1,000 classes, else numbered ones; checkpoints hold no names."""
    return imagenet_classes() if count == len(imagenet_classes()) else ClassTable.numbered(count)
