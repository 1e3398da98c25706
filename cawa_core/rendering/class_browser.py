"""The part of a report that leads to single classes: search, rankings, a scatter plot, and one address per class."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from cawa_core.rendering.class_facts import MOST_RELATED, ClassFacts, ClassValue, Relation, outliers
from cawa_core.rendering.page_data import embedded

MOST_INLINE = 6_000_000
"""Most characters of pictures inside the page; the pictures of other classes are files beside it."""
DIGITS = 5
"""Significant digits of the values in the page."""
CLEAR = 10.0
"""Robust standard deviations from which on a class stands out clearly."""
FOLDER = "classes"
"""Folder, in that of the figures, of the pictures that are not inside the page."""


@dataclasses.dataclass(frozen=True)
class Outstanding:
    """A class that stands out.

    Attributes:
        class_id: its index.
        name: its name.
        fault: what is wrong with it: what a related class tells, or else its worst value.
        is_clear: whether it lies far beyond what chance explains.
    """

    class_id: int
    name: str
    fault: str
    is_clear: bool


@dataclasses.dataclass(frozen=True)
class ClassBrowser:
    """Content of the part of the page about single classes.

    Attributes:
        data: what the page's script shows, as JSON that is safe inside a ``script`` element.
        n_classes: number of classes.
        lead: introduction in plain words.
        outstanding: the classes that stand out, the farthest first.
        files: pictures beside the page, by path in the folder of figures.
    """

    data: Markup
    n_classes: int
    lead: str
    outstanding: tuple[Outstanding, ...]
    files: Mapping[str, bytes]


def class_browser(
    facts: ClassFacts, class_names: Mapping[int, str], wordnet_ids: Mapping[int, str]
) -> ClassBrowser | None:
    """Build the content; None if there are neither values nor pictures of single classes.

    Args:
        facts: facts from all analyses.
        class_names: names of the audited classes by index.
        wordnet_ids: their WordNet ids; empty if they have none.
    """
    if not (facts.values or facts.pictures):
        return None
    class_ids = sorted(class_names)
    deviating = [outlier for outlier in outliers(facts.values) if outlier.class_id in class_names]
    outstanding = list(dict.fromkeys(outlier.class_id for outlier in deviating))
    faults = {value.name: value.fault or value.heading for value in facts.values}
    worst = {outlier.class_id: faults[outlier.value] for outlier in reversed(deviating)} | _diagnoses(facts)
    farthest = {outlier.class_id: outlier.deviation for outlier in reversed(deviating)}
    order = dict.fromkeys([*outstanding, *_by_extremes(facts.values, class_ids)])
    pictures = {class_id: facts.pictures[class_id] for class_id in order if class_id in facts.pictures}
    inline, beside = _placed(pictures)
    data = {
        "ids": class_ids,
        "names": [class_names[class_id] for class_id in class_ids],
        "wordnet": [wordnet_ids.get(class_id, "") for class_id in class_ids] if wordnet_ids else [],
        "values": [_value(value, class_ids) for value in facts.values],
        "relations": [_relation(relation) for relation in facts.relations],
        "pictures": inline | {class_id: f"figures/{_path(class_id)}" for class_id in beside},
        "clear": CLEAR,
        "outliers": [[outlier.class_id, outlier.value, _rounded(outlier.deviation)] for outlier in deviating],
    }
    return ClassBrowser(
        data=embedded(data),
        n_classes=len(class_ids),
        lead=_lead(facts, len(class_ids), len(outstanding), len(inline)),
        outstanding=tuple(
            Outstanding(class_id, class_names[class_id], worst[class_id], farthest[class_id] >= CLEAR)
            for class_id in outstanding
        ),
        files={_path(class_id): content for class_id, content in beside.items()},
    )


def _diagnoses(facts: ClassFacts) -> dict[int, str]:
    """Return what the most related class tells about each class, if anything."""
    return {
        class_id: related[0].diagnosis
        for relation in facts.relations
        for class_id, related in relation.by_class.items()
        if related and related[0].diagnosis
    }


def _lead(facts: ClassFacts, n_classes: int, n_outstanding: int, n_inline: int) -> str:
    parts = [
        "Find a class by its name or index, or rank the classes by a value. Each class has its own address on this "
        "page, such as #class-7; select a card to see all of its values."
    ]
    judged = sum(1 for value in facts.values if value.better)
    if judged and n_classes > 1:
        number = {0: "No class stands", 1: "1 class stands"}.get(n_outstanding, f"{n_outstanding:,} classes stand")
        parts.append(
            f"{number} out as worse than the others. By chance alone, only one in twenty audits of {n_classes:,} "
            "classes would name any class on any of these values."
        )
    n_beside = len(facts.pictures) - n_inline
    if n_beside:
        parts.append(
            f"This page contains pictures of {n_inline:,} of {n_classes:,} classes; those of the others are in "
            f"figures/{FOLDER}/ and appear if that folder lies beside the page."
        )
    return " ".join(parts)


def _value(value: ClassValue, class_ids: Sequence[int]) -> dict[str, Any]:
    known = [value.values.get(class_id) for class_id in class_ids]
    return {
        "name": value.name,
        "heading": value.heading,
        "meaning": value.meaning,
        "better": value.better,
        "fault": value.fault,
        "values": [_rounded(number) for number in known],
    }


def _relation(relation: Relation) -> dict[str, Any]:
    rows = {
        class_id: [[other.class_id, other.name, other.words, other.is_telling] for other in related[:MOST_RELATED]]
        for class_id, related in relation.by_class.items()
    }
    return {"heading": relation.heading, "rows": rows}


def _by_extremes(values: Sequence[ClassValue], class_ids: Sequence[int]) -> list[int]:
    """Order the classes by their best place, from either end, in any ranking; those in none come last."""
    places = np.full(len(class_ids), len(class_ids))
    for value in values:
        known = np.array([value.values.get(class_id, np.nan) for class_id in class_ids], dtype=np.float64)
        ranked = np.flatnonzero(np.isfinite(known))
        by_size = ranked[np.argsort(known[ranked], kind="stable")]
        nearest_end = np.minimum(np.arange(len(by_size)), np.arange(len(by_size))[::-1])
        places[by_size] = np.minimum(places[by_size], nearest_end)
    return [class_ids[place] for place in np.argsort(places, kind="stable")]


def _placed(pictures: Mapping[int, bytes]) -> tuple[dict[int, str], dict[int, bytes]]:
    """Put the first pictures into the page, as data URIs, as long as there is room; the others go into files."""
    inline: dict[int, str] = {}
    beside: dict[int, bytes] = {}
    room = MOST_INLINE
    for class_id, content in pictures.items():
        room -= 4 * len(content) // 3
        if room >= 0:
            inline[class_id] = "data:image/webp;base64," + base64.b64encode(content).decode()
        else:
            beside[class_id] = content
    return inline, beside


def _path(class_id: int) -> str:
    """Return the path of a class's pictures in the folder of figures."""
    return f"{FOLDER}/c{class_id:04d}.webp"


def _rounded(number: float | None) -> float | None:
    return None if number is None or not np.isfinite(number) else float(f"{number:.{DIGITS}g}")
