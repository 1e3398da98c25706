"""Building blocks of the sections of the report."""

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
"""Most classes with images in the report; of more, evenly spaced ones are chosen."""

TARGET_WORDS = {"score_change": "drop in score", "score_change_abs": "absolute change in score"}


@dataclasses.dataclass(frozen=True)
class Photo:
    """One strip of generated images: a data URI, its alternative text, and the note below it."""

    source: str
    alt: str
    note: str


@dataclasses.dataclass(frozen=True)
class PhotoRow:
    """Strips of one class, side by side."""

    label: str
    photos: tuple[Photo, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: a heading, an introduction in plain words, figures, photos and tables."""

    anchor: str
    title: str
    lead: str
    figures: tuple[Picture, ...] = ()
    tables: tuple[HtmlTable, ...] = ()
    photo_headings: tuple[str, ...] = ()
    photo_rows: tuple[PhotoRow, ...] = ()


def class_names(summary: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the audit's classes by index."""
    return {int(class_id): name for class_id, name in summary["class_names"].items()}


def shown(class_ids: list[int]) -> list[int]:
    """Choose at most ``SHOWN_CLASSES`` classes, evenly spaced."""
    places = np.linspace(0, len(class_ids) - 1, min(SHOWN_CLASSES, len(class_ids)))
    return [class_ids[int(place)] for place in places.round()]
