"""Classes by index, name or WordNet id: exactly, with a suggestion where nothing matches."""

from __future__ import annotations

import csv
import dataclasses
from functools import cache, cached_property

from cawa_core import assets
from cawa_core.errors import InputError, suggestion

IMAGENET = "imagenet_classes.csv"


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """The classes of a model in the order of their indices.

    Attributes:
        names: one a class, all different.
        wordnet_ids: one a class, or none at all.
        synonyms: further names a class, or none at all; one may belong to several classes.
    """

    names: tuple[str, ...]
    wordnet_ids: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def numbered(cls, count: int) -> ClassTable:
        """For a model that brings no names."""
        return cls(tuple(f"class {index}" for index in range(count)))

    def __len__(self) -> int:
        return len(self.names)

    def resolve(self, given: int | str, argument: str = "classes") -> int:
        """Index of a class: a number is an index, text a name, a WordNet id, or else an index.

        Raises:
            InputError: unknown, ambiguous or out of range; names the argument.
        """
        text = str(given).strip()
        found = self._indices.get(text, []) if isinstance(given, str) else []
        if len(found) == 1:
            return found[0]
        if found:
            choices = " and ".join(f"{one} ({self._describe(one)})" for one in found)
            raise InputError(f"{argument}: {text!r} names classes {choices}; give the index or WordNet id")
        if not text.removeprefix("-").isdecimal():
            raise InputError(f"{argument}: no class is named {text!r}{suggestion(text, self._indices)}{self._listed()}")
        if not 0 <= int(text) < len(self):
            raise InputError(f"{argument} must be in 0..{len(self) - 1} or names; got {text}")
        return int(text)

    def resolve_all(self, given: tuple[int | str, ...], *, once: bool = True) -> tuple[int, ...]:
        """Indices in ascending order; all classes where none is given, and for the word ``all``.

        Args:
            given: classes as :meth:`resolve` takes them.
            once: refuse one that is given twice, by whatever words; else it counts once.

        Raises:
            InputError: a class that :meth:`resolve` refuses, or one given twice.
        """
        if given in ((), ("all",)):
            return tuple(range(len(self)))
        found = [self.resolve(one) for one in given]
        if once and len(set(found)) < len(found):
            raise InputError(f"classes must each be given once; got {', '.join(map(str, given))}")
        return tuple(sorted(set(found)))

    def lines(self) -> list[str]:
        """One a class for people to read: index, WordNet id, name, further names."""
        wordnet_ids, synonyms = self.wordnet_ids or ("",) * len(self), self.synonyms or ((),) * len(self)
        shown = []
        for index, name in enumerate(self.names):
            others = ", ".join(one for one in synonyms[index] if one != name)
            words = (str(index), wordnet_ids[index], name, f"({others})" if others else "")
            shown.append(" ".join(word for word in words if word))
        return shown

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        """Every name, synonym and WordNet id => the classes it stands for."""
        found: dict[str, dict[int, None]] = {}
        for column in (self.synonyms, ((name,) for name in self.names), ((one,) for one in self.wordnet_ids)):
            for index, names in enumerate(column):
                for name in names:
                    found.setdefault(name, {})[index] = None
        return {name: sorted(indices) for name, indices in found.items()}

    def _describe(self, index: int) -> str:
        return self.wordnet_ids[index] if self.wordnet_ids else self.names[index]

    def _listed(self) -> str:
        return f"; names: {', '.join(self.names)}" if len(self) <= 20 else "; `cawa classes GENERATOR` lists them"


@cache
def imagenet_classes() -> ClassTable:
    """The 1,000 classes of ImageNet (ILSVRC 2012) in BigGAN's order, that of their sorted WordNet ids."""
    with assets.verified(IMAGENET).open(newline="") as file:
        rows = list(csv.DictReader(file))
    synonyms = tuple(tuple(row["synonyms"].split("; ")) for row in rows)
    return ClassTable(tuple(row["name"] for row in rows), tuple(row["wordnet_id"] for row in rows), synonyms)


def classes_of_model(count: int) -> ClassTable:
    """ImageNet's for a checkpoint of 1,000 classes, numbers for any other: checkpoints bring no names."""
    return imagenet_classes() if count == len(imagenet_classes()) else ClassTable.numbered(count)
