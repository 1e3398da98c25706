"""What every section of the report is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.rendering.figures import Picture
from cawa_core.rendering.html_tables import HtmlTable

Tables = Mapping[str, pd.DataFrame]

SHOWN_CLASSES = 20
"""Classes with pictures in the report; of more, an even choice."""

TARGET_WORDS = {"score_change": "fall of the score", "score_change_abs": "absolute change of the score"}


@dataclasses.dataclass(frozen=True)
class Photo:
    """One strip of generated pictures: a data URI, its alternative text, a line below."""

    source: str
    alt: str
    note: str


@dataclasses.dataclass(frozen=True)
class PhotoRow:
    """Strips of one class side by side."""

    label: str
    photos: tuple[Photo, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: heading, plain words, pictures, tables."""

    anchor: str
    title: str
    lead: str
    figures: tuple[Picture, ...] = ()
    tables: tuple[HtmlTable, ...] = ()
    photo_headings: tuple[str, ...] = ()
    photo_rows: tuple[PhotoRow, ...] = ()


def class_names(summary: Mapping[str, Any]) -> dict[int, str]:
    """Names of the audit's classes by index."""
    return {int(class_id): name for class_id, name in summary["class_names"].items()}


def shown(class_ids: list[int]) -> list[int]:
    """An even choice of at most ``SHOWN_CLASSES``."""
    places = np.linspace(0, len(class_ids) - 1, min(SHOWN_CLASSES, len(class_ids)))
    return [class_ids[int(place)] for place in places.round()]
